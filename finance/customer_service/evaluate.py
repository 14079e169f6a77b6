"""The report of a bundle on its test part, opened here and in the benchmark alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.bundle import Bundle
from common.data.card import Published
from common.errors import DataError
from common.evaluation import plots
from common.evaluation.metrics import wilson
from common.evaluation.page import Section
from common.evaluation.report import Metric, Report, Seconds, Slice
from common.provenance import commit, machine, peak_rss_mb
from finance.customer_service import SYSTEM
from finance.customer_service.config import Config
from finance.customer_service.data import BANKING, CLINC, Utterances, as_tasks, joined, load_test, published
from finance.customer_service.pairs import pairs
from finance.customer_service.reader import SMALL_TALK
from finance.customer_service.serve import Answer, CustomerServicePredictor, Request
from finance.customer_service.simulator import SIMULATED
from finance.customer_service.train import sources

DRAWS, PAIRS = 1_000, 200
"""Of groups, for intervals; and of requests in one message, in each language and in both."""


@dataclass(frozen=True)
class Judged:
    """Answers to a test part in rows, bool (rows,): the best intent is right, is refused, is asked back."""

    right: np.ndarray
    refused: np.ndarray
    asked: np.ndarray


def evaluate(bundle: Bundle) -> tuple[Report, list[Section]]:
    """Metrics, slices and the sections of the page. Raises `DataError` when the data is not what it was trained on."""
    started = time.perf_counter()
    config = Config.model_validate(bundle.manifest.config)
    corpora = sources(config)
    check_data(bundle, [corpus.sha256 for corpus in corpora.values()])
    test = test_of(config)
    loaded = time.perf_counter()
    predictor = CustomerServicePredictor.load(bundle)
    judged = judge(predictor.predict([Request(text=text) for text in test.text]), test)
    seconds = Seconds(data=loaded - started, train=0.0, evaluate=time.perf_counter() - loaded)
    train = joined(c.train.rows(np.isin(c.train.language, languages)) for languages, c in corpora.items())
    first = next(iter(corpora.values()))
    metrics = measured(judged, test) | two_in_one(predictor, test, config.seed)
    report = report_of(
        dataset=first.id,
        protocol=protocol_of(config),
        simulated=bundle.manifest.simulated,
        data_sha256=first.sha256,
        metrics=metrics,
        floor=floor(train, test, predictor),
        baselines={"TF-IDF + linear SVM": baseline(train, test, config.seed)},
        published=published(config.dataset, protocol_of(config)),
        slices=slices(judged, test),
        seconds=seconds,
    )
    promised = {language: brain.gates[language].promised for language, brain in predictor.brains.items()}
    return report, sections(report, judged, test, promised)


def protocol_of(config: Config) -> str:
    """What the split is called in tables."""
    if config.tasks:
        return "tasks"
    return "full" if config.dataset in (BANKING, CLINC) else "held-out"


def check_data(bundle: Bundle, found: Sequence[str]) -> None:
    """Raise `DataError` unless these are the sets that the bundle was trained on."""
    expected = [card["sha256"] for card in bundle.json("data.json")["cards"]]
    if list(found) != expected:
        raise DataError("the data is not what this bundle was trained on", got=found, expected=expected)


def test_of(config: Config) -> Utterances:
    """The test rows: of one set, or the English ones of the first and the Chinese of the second.

    With `tasks` what training has seen as out of scope is left out: those kinds are no news.
    """
    test = load_test(config.dataset, config.seed)
    if config.tasks:
        mapped, simulated = as_tasks(config.dataset, test), load_test(SIMULATED, config.seed)
        test = joined([mapped.rows(mapped.known), simulated.rows(simulated.language == "en")])
    if not config.chinese:
        return test
    other = load_test(config.chinese, config.seed)
    return joined([test.rows(test.language == "en"), other.rows(other.language == "zh")])


def judge(answers: Sequence[Answer], test: Utterances) -> Judged:
    """What became of every request; of several intents the first is judged."""
    best = np.array([answer.intents[0].name if answer.intents else "" for answer in answers], dtype=object)
    decision = np.array([answer.decision for answer in answers])
    return Judged(test.known & (best == test.intent), decision == "refuse", decision == "clarify")


def measured(judged: Judged, test: Utterances) -> dict[str, Metric]:
    """Shares with 95 % intervals over groups of utterances that were made alike."""
    known, found = test.known, {}
    found["accuracy"] = share(judged.right, known, test.group)
    found["answered_right"] = share(judged.right & ~judged.refused, known, test.group)
    found["in_scope_refused"] = share(judged.refused, known, test.group)
    found["asked_back"] = share(judged.asked, known, test.group)
    for name, rows in _out(test).items():
        found[f"oos_recall{name}"] = share(judged.refused, rows, _kinds(test))
    for language in ("en", "zh"):
        here = test.language == language
        if here.any() and not here.all():
            found[f"accuracy_{language}"] = share(judged.right, known & here, test.group)
            found[f"in_scope_refused_{language}"] = share(judged.refused, known & here, test.group)
            for name, rows in _out(test).items():
                if (rows & here).any():
                    found[f"oos_recall{name}_{language}"] = share(judged.refused, rows & here, _kinds(test))
    return found


def two_in_one(predictor: CustomerServicePredictor, test: Utterances, seed: int) -> dict[str, Metric]:
    """How often exactly both of two requests in one message are found: in English, Chinese and both, and of those that
    are found each by itself; and how often one request, where it is not refused, is not taken for several."""

    def asked(texts: Sequence[str]) -> list[set[str]]:
        answers = predictor.predict([Request(text=text) for text in texts])
        return [{i.name for i in a.intents} if a.decision in ("answer", "handoff") else set() for a in answers]

    rows = np.flatnonzero(test.known & ~np.isin(test.intent, list(SMALL_TALK)))
    alone = dict(zip(rows.tolist(), asked(list(test.text[rows])), strict=True))
    found: dict[str, list[bool]] = {"one_stays_one": [len(one) == 1 for one in alone.values() if one]}
    for kind, some in pairs(test, PAIRS, seed).items():
        for (_, *made_of), names in zip(some, asked([text for text, *_ in some]), strict=True):
            both = names == set(test.intent[made_of])
            found.setdefault(f"both_of_two_{kind}", []).append(both)
            if all(alone[row] == {test.intent[row]} for row in made_of):
                found.setdefault("both_of_two_understood", []).append(both)
    of = {name: np.array(one) for name, one in found.items() if one}
    return {name: share(one, np.ones(len(one), bool), np.arange(len(one))) for name, one in of.items()}


def share(event: np.ndarray, rows: np.ndarray, group: np.ndarray) -> Metric:
    """How many of `rows` have the event; groups are drawn again whole for the interval, single rows get Wilson's."""
    event, group = event[rows].astype(float), np.unique(group[rows], return_inverse=True)[1]
    value, n = float(event.mean()), len(event)
    size = np.bincount(group)
    if size.max() == 1:
        low, high = wilson(event.sum(), n)
        return Metric(value=value, low=float(low), high=float(high), n=n)
    total = np.bincount(group, weights=event)
    drawn = np.random.default_rng(0).integers(0, len(size), (DRAWS, len(size)))
    low, high = np.quantile(total[drawn].sum(axis=1) / size[drawn].sum(axis=1), [0.025, 0.975])
    return Metric(value=value, low=min(float(low), value), high=max(float(high), value), n=n)


def floor(train: Utterances, test: Utterances, predictor: CustomerServicePredictor) -> dict[str, float]:
    """The most frequent intent, said to everybody; and refusing at random as often as is promised."""
    names, counts = np.unique(train.intent[train.known], return_counts=True)
    found = {"accuracy": float((test.intent[test.known] == names[counts.argmax()]).mean())}
    promised = float(np.mean([brain.gates[language].promised for language, brain in predictor.brains.items()]))
    return found | {"in_scope_refused": promised} if (~test.known).any() else found


def baseline(train: Utterances, test: Utterances, seed: int) -> dict[str, float]:
    """TF-IDF of words (1-2) and characters (2-5) under a linear SVM, with a class for what is out of scope."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2)
    model = make_pipeline(make_union(words, characters), LinearSVC(random_state=seed)).fit(train.text, train.intent)
    said = model.predict(test.text)
    found = {"accuracy": float((said == test.intent)[test.known].mean())}
    if (~train.known).any() and (~test.known).any():
        found |= {"oos_recall": float((said == "")[~test.known].mean())}
        found |= {"in_scope_refused": float((said == "")[test.known].mean())}
    return found


def slices(judged: Judged, test: Utterances) -> list[Slice]:
    """Every intent, and every kind of what is out of scope."""
    found = []
    for intent in np.unique(test.intent[test.known]):
        rows = test.intent == intent
        metrics = {"accuracy": share(judged.right, rows, test.group)}
        metrics["in_scope_refused"] = share(judged.refused, rows, test.group)
        found.append(Slice(name="intent", group=str(intent), metrics=metrics))
    for kind in np.unique(test.kind[~test.known]):
        rows = ~test.known & (test.kind == kind)
        group = str(kind) or "out of scope"
        found.append(Slice(name="kind", group=group, metrics={"oos_recall": share(judged.refused, rows, test.group)}))
    return found


def sections(report: Report, judged: Judged, test: Utterances, promised: dict[str, float]) -> list[Section]:
    """What the page shows: the promise beside what came of it, and what is taken for what."""
    rows: list[dict[str, Any]] = []
    refused: dict[str, Metric] = {}
    for language, recall in promised.items():
        here = test.language == language
        for name, out in {"near": _near(test, "near"), "far": _near(test, "far")}.items():
            if (out & here).any():
                kept = share(judged.refused, out & here, _kinds(test))
                refused[f"{language}, {name}"] = kept
                cost = share(judged.refused, test.known & here, test.group)
                row = {"language": language, "unknown requests": name, "kinds": len(np.unique(test.kind[out & here]))}
                rows.append(row | {"promised": recall, "refused": kept, "refused in scope": cost})
    text = "Kinds of requests that training has not seen. Intervals are over kinds: those of one kind are alike."
    found = [Section("Intended use", SYSTEM.intended_use)]
    if rows:
        values, ends = zip(*((one.value, (one.low, one.high)) for one in refused.values()), strict=True)
        picture = plots.bars(list(refused), values, "Unknown requests refused", "share", ends, rows[0]["promised"])
        found.append(Section("Refusal", f"{text} The dashed line is what was promised.", [picture], rows))
    worst = sorted((s for s in report.slices if s.name == "intent"), key=lambda s: s.metrics["accuracy"].value)[:10]
    table: list[dict[str, Any]] = [{"intent": s.group, **s.metrics} for s in worst]
    return [*found, Section("Hardest intents", "The ten that are recognised least.", table=table)]


def report_of(*, published: list[Published], **values: Any) -> Report:
    """A report with what is the same in all of them."""
    same = {"preset": "bundle", "baselines": {}, "slices": []} | values
    return Report(
        system=SYSTEM.name,
        published=published,
        peak_rss_mb=peak_rss_mb(),
        machine=machine(),
        commit=commit(),
        **same,
    )


def _out(test: Utterances) -> dict[str, np.ndarray]:
    """Rows out of scope: all, and near and far ones where both occur."""
    found = {"": ~test.known, "_near": _near(test, "near"), "_far": _near(test, "far")}
    return {name: rows for name, rows in found.items() if rows.any()}


def _near(test: Utterances, scope: str) -> np.ndarray:
    return ~test.known & np.array([kind.startswith(scope) for kind in test.kind])


def _kinds(test: Utterances) -> np.ndarray:
    """int (rows,): the kind, or the row itself where it has no name."""
    named = np.array(["." in kind for kind in test.kind])
    return np.unique(np.where(named, test.kind, np.arange(len(test)).astype(str)), return_inverse=True)[1]


def majority(train_part: Utterances, test: Utterances) -> float:
    """Accuracy of the most frequent intent."""
    names, counts = np.unique(train_part.intent[train_part.known], return_counts=True)
    return float((test.intent[test.known] == names[counts.argmax()]).mean())
