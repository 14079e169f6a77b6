"""From utterances to a bundle: a classifier, and gates that keep what is promised in each language."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from common.bundle import Bundle, save_bundle
from common.evaluation.stability import reference_histogram
from common.files import sha256
from finance.customer_service import SYSTEM
from finance.customer_service.config import Config
from finance.customer_service.data import Corpus, Utterances, as_tasks, joined, load, named_test, tasks
from finance.customer_service.fit import Fitted, fit
from finance.customer_service.simulator import SIMULATED

EXAMPLES = 4
"""Golden requests of each language, besides the odd ones."""
ODD = ("", "🙂🙂🙂", "Где моя карта?", "what's the weather like on Mars", "我的card丢了，please block it", "a" * 1_001)


def train(config: Config) -> Bundle:
    """Load, fit, promise and save; the test part is not opened."""
    corpora = sources(config)
    fitted = [fit(config, corpus.train, languages) for languages, corpus in corpora.items()]
    return _save(config, corpora, fitted)


def sources(config: Config) -> dict[tuple[str, ...], Corpus]:
    """By the languages it is for: the one set, or one of each language."""
    corpus = load(config.dataset, config.seed)
    if config.tasks:
        simulated = load(SIMULATED, config.seed).train
        both = [as_tasks(config.dataset, corpus.train), simulated.rows(simulated.language == "en")]
        corpus = replace(corpus, train=joined(both), simulated=True)
    if not config.chinese:
        languages = tuple(sorted(set(corpus.train.language)))
        if config.model == "ngram" or set(languages) <= set(config.encoder_languages):
            return {languages: corpus}
        own = {x: corpus.train.language == x for x in languages if x in config.encoder_languages}
        return {(x,): replace(corpus, train=corpus.train.rows(own[x])) if x in own else corpus for x in languages}
    return {("en",): corpus, ("zh",): load(config.chinese, config.seed)}


def _save(config: Config, corpora: dict[tuple[str, ...], Corpus], fitted: list[Fitted]) -> Bundle:
    metrics: dict[str, Any] = {}
    for languages, one in zip(corpora, fitted, strict=True):
        own = "" if len(corpora) == 1 else f"_{'_'.join(languages)}"
        metrics |= {f"{name}{own}" if name == "valid_accuracy" else name: v for name, v in one.metrics.items()}
    metrics["valid_accuracy"] = float(np.mean([one.metrics["valid_accuracy"] for one in fitted]))
    spoken = {languages: corpus.train for languages, corpus in corpora.items()}
    tests = b"\n".join(named_test(name, config.seed) for name in (config.dataset, config.chinese) if name)
    return save_bundle(
        SYSTEM,
        config,
        arrays={f"model-{number}.safetensors": one.classifier.arrays() for number, one in enumerate(fitted)},
        files={
            f"{number}-{name}": content
            for number, one in enumerate(fitted)
            for name, content in one.classifier.files().items()
        },
        preprocess={
            "brains": [
                {
                    "classifier": one.classifier.state(),
                    "gates": {language: gate.state() for language, gate in one.gates.items()},
                    "in_question": one.in_question,
                }
                for one in fitted
            ],
            "tasks": {} if config.tasks else tasks().get(config.dataset, {}),
            "most_asked": config.refusal.most_asked,
        },
        metrics=metrics,
        data={
            "cards": [
                {"id": c.id, "title": c.title, "licence": c.licence, "sha256": c.sha256} for c in corpora.values()
            ],
            "simulated": any(corpus.simulated for corpus in corpora.values()),
            "split": f"what is published as test, or phrases and kinds that are held back whole, seed {config.seed}",
            "test_rows_sha256": sha256(tests),
            "notes": [f"{corpus.title}: {', '.join(languages)}" for languages, corpus in corpora.items()],
        },
        reference=_reference(spoken, fitted),
        examples=[{"text": text} for text in (*_examples(spoken), *ODD)],
    )


def _reference(spoken: dict[tuple[str, ...], Utterances], fitted: list[Fitted]) -> dict[str, Any]:
    """What the monitor compares with: certainty of answers, and how often requests are refused, in scope."""
    p = np.concatenate([gate.p_values() for one in fitted for gate in one.gates.values()])
    return {"p_value": reference_histogram(p) | {"range": [0.0, 1.0]}}


def _examples(spoken: dict[tuple[str, ...], Utterances]) -> list[str]:
    """Requests in scope and out of it, in each language."""
    found: list[str] = []
    for languages, data in spoken.items():
        for language in languages:
            rows = np.flatnonzero(data.language == language)
            found += [str(text) for text in data.text[rows[:: max(1, len(rows) // EXAMPLES)]][:EXAMPLES]]
    return found
