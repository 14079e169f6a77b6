"""The reference benchmark: published protocols, and what refusal keeps of its promise where the unknown is near.

Settings were chosen by cross-validation on training parts (`docs/customer_service.md`); only the rows read test parts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from common.bundle import Bundle
from common.evaluation.report import Metric, Report, Seconds
from common.progress import bar
from common.text.ngrams import Grams
from common.text.onnx_encoder import OnnxEncoder
from finance.customer_service.acts_report import evaluate_acts
from finance.customer_service.clinc import clinc
from finance.customer_service.config import Config
from finance.customer_service.data import (
    BANKING,
    CLINC,
    Utterances,
    as_tasks,
    load,
    load_test,
    published,
)
from finance.customer_service.evaluate import (
    baseline,
    evaluate,
    floor,
    judge,
    majority,
    measured,
    report_of,
    share,
    slices,
)
from finance.customer_service.fit import Spaces, classifier, fit
from finance.customer_service.model import Classifier
from finance.customer_service.reader import read, sureness
from finance.customer_service.replies import name_of
from finance.customer_service.serve import CustomerServicePredictor, Request
from finance.customer_service.simulator import SIMULATED
from finance.customer_service.space import FILES, Both, Space, frozen, opened
from finance.customer_service.star import evaluate_star
from finance.customer_service.train import train

SHOTS, DRAWS, GUESSED_RIDGE = 10, 3, 1.0
"""Texts of each intent, how often they are drawn, and the ridge of a model that learns from guessed labels too."""
LEFT_OUT, NEAR_DRAWS = 20, 2
"""Intents that training does not see, and how often these are drawn."""
TIMED = 200


def bench(config: Config, preset: str) -> list[Report]:
    """One report per data set and protocol; other presets than `reference` give the report of their own bundle."""
    if preset != "reference":
        return [evaluate(train(config))[0].model_copy(update={"preset": preset})]
    pure = config.model_copy(update={"chinese": "", "tasks": False})
    rows: dict[str, Callable[[], list[Report]]] = {
        "BANKING77": lambda: [full(pure)],
        "10-shot": lambda: [few_shot(pure)],
        "CLINC150": lambda: [clinc(tuning(pure, 3))],
        "near": lambda: [near(pure)],
        "CrossWOZ": lambda: [evaluate_acts(preset, config.seed)],
        "STAR": lambda: [evaluate_star(preset, config.seed)],
        "bundles": lambda: deployed(config),
    }
    found: list[Report] = []
    with bar("protocols", len(rows)) as advance:
        for name, row in rows.items():
            found += [report.model_copy(update={"preset": preset}) for report in row()]
            advance(1, name)
    return found


def full(config: Config) -> Report:
    """BANKING77 as published: all of train.csv to learn from, test.csv to measure."""
    started = time.perf_counter()
    corpus, test = load(BANKING, config.seed), load_test(BANKING)
    loaded = time.perf_counter()
    everything = np.ones(len(corpus.train), bool)
    config = tuning(config, 4)
    model = classifier(config, corpus.train, everything, Spaces(config, corpus.train, ("en",)))
    trained = time.perf_counter()
    plain = Classifier.linear(corpus.train.text.tolist(), corpus.train.intent, config.grams, config.c, config.seed)
    metrics = {
        "accuracy": share(right(model, test), test.known, np.arange(len(test))),
        "request_ms": milliseconds(replace(model, head=None), test),
        "tuned_ms": milliseconds(model, test),
        "ngram_ms": milliseconds(plain, test),
    }
    return report_of(
        dataset=BANKING,
        protocol="full",
        simulated=False,
        data_sha256=corpus.sha256,
        metrics=metrics,
        floor={"accuracy": majority(corpus.train, test)},
        baselines={
            "TF-IDF + linear SVM": baseline(corpus.train, test, config.seed),
            "n-grams alone": {"accuracy": float(right(plain, test).mean())},
            "frozen encoder": {"accuracy": float(right(replace(model, head=None), test).mean())},
        },
        published=published(BANKING, "full"),
        seconds=Seconds(data=loaded - started, train=trained - loaded, evaluate=time.perf_counter() - trained),
    )


def few_shot(config: Config) -> Report:
    """Ten texts of each intent and its name, drawn three times; the rest of train.csv helps without its labels.

    Without that rest, and with n-grams alone, as baselines.
    """
    from common.text.export import export_onnx  # needs torch, as the next
    from common.text.self_training import self_train

    started = time.perf_counter()
    corpus, test = load(BANKING, config.seed), load_test(BANKING)
    encoder = opened(frozen(config.backbone), FILES)
    ours: list[Metric] = []
    others: dict[str, list[float]] = {"ten texts alone": [], "n-grams alone": [], "TF-IDF + linear SVM": []}
    for draw in range(DRAWS):
        few = drawn(corpus.train, SHOTS, draw)
        rest = sorted(set(corpus.train.text) - set(few.text))
        names, labels = np.unique(few.intent, return_inverse=True)
        texts = [*few.text, *(name_of(name, "en") for name in names)]
        labels = np.concatenate([labels, np.arange(len(names))])
        tuned, chances = self_train(config.backbone, texts, labels, rest, seed=draw)
        guessed = np.concatenate([labels, chances.argmax(axis=1)])
        everything, surely = [*texts, *rest], config.kernel.model_copy(update={"ridge": GUESSED_RIDGE})
        both = Both(encoder, OnnxEncoder(export_onnx(tuned.encoder, layers=True), encoder.tokens))
        wide = Space.of_encoder(both, {}, everything, 2 * config.size)
        model = Classifier.kernel(everything, names[guessed], config.grams, surely, wide)
        ours.append(share(right(model, test), test.known, np.arange(len(test))))
        few_texts = few.text.tolist()
        space = Space.of_encoder(encoder, {}, everything, config.size)
        alone = Classifier.kernel(few_texts, few.intent, config.grams, config.kernel, space)
        others["ten texts alone"].append(float(right(alone, test).mean()))
        plain = Classifier.linear(few_texts, few.intent, Grams(least=1), config.c, draw)
        others["n-grams alone"].append(float(right(plain, test).mean()))
        others["TF-IDF + linear SVM"].append(baseline(few, test, draw)["accuracy"])
    return report_of(
        dataset=BANKING,
        protocol="10-shot",
        simulated=False,
        data_sha256=corpus.sha256,
        metrics={"accuracy": mean_of(ours)},
        floor={"accuracy": majority(corpus.train, test)},
        baselines={name: {"accuracy": float(np.mean(some))} for name, some in others.items()},
        published=published(BANKING, "10-shot"),
        seconds=Seconds(data=0.0, train=time.perf_counter() - started, evaluate=0.0),
    )


def near(config: Config) -> Report:
    """What is promised of kinds that training has not seen: twenty intents of BANKING77 left out of it altogether."""
    started = time.perf_counter()
    corpus, test = load(BANKING, config.seed), load_test(BANKING)
    found: dict[str, dict[str, list[Metric]]] = {}
    for draw in range(NEAR_DRAWS):
        names = np.unique(corpus.train.intent)
        hidden = np.random.default_rng(draw).choice(names, LEFT_OUT, replace=False)
        rest = corpus.train.rows(~np.isin(corpus.train.intent, hidden))
        unknown, kind = np.isin(test.intent, hidden), np.unique(test.intent, return_inverse=True)[1]
        for name, settings in {"ours": config, "n-grams alone": config.model_copy(update={"model": "ngram"})}.items():
            fitted = fit(settings, rest, ("en",))
            readings = read(fitted.classifier, test.text.tolist())
            refused = fitted.gates["en"].refuses(np.array([one.score for one in readings]))
            best = np.array([fitted.classifier.intents[int(one.chances.argmax())] for one in readings], dtype=object)
            mine = found.setdefault(name, {"oos_recall": [], "in_scope_refused": [], "answered_right": []})
            mine["oos_recall"].append(share(refused, unknown, kind))
            mine["in_scope_refused"].append(share(refused, ~unknown, np.arange(len(test))))
            mine["answered_right"].append(share(~refused & (best == test.intent), ~unknown, np.arange(len(test))))
    promised = config.refusal.recall
    return report_of(
        dataset=BANKING,
        protocol=f"{LEFT_OUT}-intents-left-out",
        simulated=False,
        data_sha256=corpus.sha256,
        metrics={name: mean_of(some) for name, some in found["ours"].items()},
        floor={"oos_recall": promised, "in_scope_refused": promised, "answered_right": 0.0},
        baselines={
            name: {metric: mean_of(some).value for metric, some in values.items()}
            for name, values in found.items()
            if name != "ours"
        },
        seconds=Seconds(data=0.0, train=time.perf_counter() - started, evaluate=0.0),
        published=[],
    )


def deployed(config: Config) -> list[Report]:
    """The bundles themselves: simulated customers alone and with BANKING77, on their own test parts, then before real
    requests: those of CLINC150's test part that a bank's customer would make, and all others, near and far."""
    bundles = {"simulated-to-bank": train(Config(seed=config.seed)), "tasks-to-bank": train(config)}
    return [evaluate(one)[0] for one in bundles.values()] + [real(bundle, name) for name, bundle in bundles.items()]


def real(bundle: Bundle, protocol: str) -> Report:
    """CLINC150's test part with our intents."""
    started = time.perf_counter()
    test, predictor = as_tasks(CLINC, load_test(CLINC)), CustomerServicePredictor.load(bundle)
    judged = judge(predictor.predict([Request(text=text) for text in test.text]), test)
    learnt = load(SIMULATED).train
    return report_of(
        dataset=CLINC,
        protocol=protocol,
        simulated=True,
        data_sha256=load(CLINC).sha256,
        metrics=measured(judged, test),
        floor=floor(learnt, test, predictor),
        baselines={"TF-IDF + linear SVM, simulated customers": baseline(learnt, test, 0)},
        slices=slices(judged, test),
        published=[],
        seconds=Seconds(data=0.0, train=0.0, evaluate=time.perf_counter() - started),
    )


def tuning(config: Config, epochs: int) -> Config:
    """The same with the encoder tuned whole, too."""
    return config.model_copy(update={"model": "full", "tuning": config.tuning.model_copy(update={"epochs": epochs})})


def right(model: Classifier, test: Utterances) -> np.ndarray:
    """bool (rows,): whether the best intent is the one meant."""
    return best_of(model, test)[0] == test.intent


def best_of(model: Classifier, data: Utterances) -> tuple[np.ndarray, np.ndarray]:
    """The best intent, object (rows,), and how sure it is that one of the few best is meant, float (rows,)."""
    chances = model.chances(model.scores(data.text.tolist()))
    return np.array(model.intents, dtype=object)[chances.argmax(axis=1)], sureness(chances)


def drawn(data: Utterances, shots: int, seed: int) -> Utterances:
    """So many texts of each intent."""
    rng = np.random.default_rng(seed)
    names = np.unique(data.intent[data.known])
    rows = [rng.choice(np.flatnonzero(data.intent == name), shots, replace=False) for name in names]
    return data.rows(np.concatenate(rows))


def mean_of(draws: Sequence[Metric]) -> Metric:
    """The mean over draws, and of their intervals: the same test rows are in all of them."""
    value, low, high = (float(np.mean([getattr(one, end) for one in draws])) for end in ("value", "low", "high"))
    return Metric(value=value, low=low, high=high, n=draws[0].n)


def milliseconds(model: Classifier, test: Utterances) -> Metric:
    """Of one utterance alone: the median, and the quartiles as its interval."""
    found = []
    for text in test.text[:TIMED]:
        began = time.perf_counter()
        read(model, [text])
        found.append(1000 * (time.perf_counter() - began))
    low, middle, high = np.quantile(found, [0.25, 0.5, 0.75])
    return Metric(value=float(middle), low=float(low), high=float(high), n=len(found))
