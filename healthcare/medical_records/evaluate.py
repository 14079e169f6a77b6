"""The report of a bundle on its test part: entities, denials, and what identifies. Opened here and in the benchmark."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.bundle import Bundle
from common.errors import DataError
from common.evaluation import plots
from common.evaluation.metrics import interval
from common.evaluation.page import Section
from common.evaluation.report import Metric, Report, Seconds, Slice
from common.provenance import commit, machine, peak_rss_mb
from common.text.tags import Mark, agreement, span_scores
from common.text.units import units
from healthcare.medical_records import SYSTEM
from healthcare.medical_records.assertion import assertions_of
from healthcare.medical_records.config import PUBLISHED, Config
from healthcare.medical_records.data import corpora, load_tests, paths, simulated_tests
from healthcare.medical_records.deid.deidentify import Deidentifier
from healthcare.medical_records.deid.evaluate_deid import evaluate_deid
from healthcare.medical_records.evaluate_assertion import evaluate_assertion, metrics_of
from healthcare.medical_records.evaluate_ner import dictionary_ner, score
from healthcare.medical_records.model import RecordReader
from healthcare.medical_records.ner import units_of
from healthcare.medical_records.ner_data import Marked
from healthcare.medical_records.simulator import Simulated
from healthcare.medical_records.spans import Language
from healthcare.medical_records.train import test_rows

DRAWS = 1_000
ENGLISH = {
    "疾病和诊断": "disease",
    "药物": "drug",
    "症状": "symptom",
    "解剖部位": "anatomy",
    "影像检查": "imaging",
    "实验室检验": "laboratory test",
    "手术": "operation",
}
"""Labels of cEHRNER in pictures, whose fonts have no Chinese."""


def evaluate(bundle: Bundle) -> tuple[Report, list[Section]]:
    """Metrics, slices and the sections of the page. Raises `DataError` when the data is not what it was trained on."""
    started = time.perf_counter()
    config = Config.model_validate(bundle.manifest.config)
    learnt = corpora(config)
    expected = [card["sha256"] for card in bundle.json("data.json")["cards"]]
    if (found := [corpus.sha256 for corpus in learnt.values()]) != expected:
        raise DataError("the data is not what this bundle was trained on", got=found, expected=expected)
    bundle.check_test_rows(test_rows(config, learnt))
    tests = load_tests(config)
    loaded = time.perf_counter()
    reader = RecordReader.load(bundle)
    marks = {language: reader.finders[language].marks(test.texts) for language, test in tests.items()}
    counts = {language: agreement(test.marks, marks[language]) for language, test in tests.items()}
    metrics = score(np.concatenate(list(counts.values())))
    metrics |= {f"f1_{language}": score(one)["f1"] for language, one in counts.items()}
    denied = denials(config)
    deidentifier = Deidentifier(reader.identifiers)
    pii = identifiers(config, deidentifier)
    metrics |= {f"negation_{name}": denied[name] for name in ("f1", "precision", "recall")}
    metrics["overmasked"] = overmasked(deidentifier, config)
    for protocol, some in pii.items():
        metrics |= {f"pii_{name}_{protocol}": some[name] for name in ("recall", "f1")}
    parts, train = slices(tests, marks), {language: corpus.train for language, corpus in learnt.items()}
    report = report_of(
        dataset="+".join(sorted({corpus.id for corpus in learnt.values()})),
        protocol="test" if config.dataset == PUBLISHED else "held-out",
        simulated=bundle.manifest.simulated,
        data_sha256=next(iter(learnt.values())).sha256,
        metrics=metrics,
        floor={"f1": guessing(train, tests)},
        baselines={"longest match of training phrases": baseline(train, tests)},
        slices=parts,
        seconds=Seconds(data=loaded - started, train=0.0, evaluate=time.perf_counter() - loaded),
    )
    return report, sections(report, parts, pii)


def denials(config: Config) -> dict[str, Metric]:
    """Of NegEx's sentences for a bundle of published data, else of simulated notes, whose denials are known."""
    if config.dataset == PUBLISHED:
        return evaluate_assertion(paths("negex-context-sentences"))["all"]
    return denials_of(list(simulated_tests(config).values()))


def denials_of(some: Sequence[Simulated]) -> dict[str, Metric]:
    """How well denials are read in simulated notes at the marks that are known; intervals draw whole notes."""
    truth, found, groups = list[float](), list[float](), list[int]()
    for one in some:
        for text, marks, denied in zip(one.marked.texts, one.marked.marks, one.denied, strict=True):
            said = assertions_of(text, [(mark.start, mark.end) for mark in marks])
            groups += [max(groups, default=0) + 1] * len(marks)
            truth += map(float, denied)
            found += [float(each.negated) for each in said]
    return metrics_of(np.array(truth), np.array(found), np.array(groups))


def identifiers(config: Config, deidentifier: Deidentifier) -> dict[str, dict[str, Metric]]:
    """What is found of identifiers in texts of the test parts, by protocol of `evaluate_deid`."""
    if config.identifiers.refilled:
        return evaluate_deid(deidentifier, paths("presidio-synth-pii"))
    return evaluate_deid(deidentifier, variants=6, seed=config.seed)


def overmasked(deidentifier: Deidentifier, config: Config) -> Metric:
    """Share of letters and digits that are masked in simulated notes, which name nobody; intervals draw whole notes."""
    counts = []
    for text in (text for test in simulated_tests(config).values() for text in test.marked.texts):
        hidden = sum(c.isalnum() for one in deidentifier(text).replaced for c in text[one.start : one.end])
        counts.append((hidden, sum(c.isalnum() for c in text)))
    found = np.array(counts)
    drawn = found[np.random.default_rng(0).integers(0, len(found), (DRAWS, len(found)))].sum(axis=1)
    value = float(found[:, 0].sum() / found[:, 1].sum())
    low, high = interval(value, drawn[:, 0] / drawn[:, 1])
    return Metric(value=value, low=low, high=high, n=len(found))


def guessing(train: Mapping[Language, Marked], tests: Mapping[Language, Marked]) -> float:
    """The trivial floor: F1 of calling every word or character an entity of the most frequent label."""
    counts = []
    for language, test in tests.items():
        label = Counter(mark.label for own in train[language].marks for mark in own).most_common(1)[0][0]
        kind = units_of(test.texts)
        counts.append(
            agreement(test.marks, [[Mark(start, end, label) for start, end in units(t, kind)] for t in test.texts])
        )
    return span_scores(np.concatenate(counts))["f1"]


def baseline(train: Mapping[Language, Marked], tests: Mapping[Language, Marked]) -> dict[str, float]:
    """The longest phrases marked in training."""
    return {f"f1_{x}": dictionary_ner(train[x], test)["f1"].value for x, test in tests.items()}


def slices(tests: Mapping[Language, Marked], marks: Mapping[Language, list[list[Mark]]]) -> list[Slice]:
    """Every label of every language."""
    found = []
    for language, test in tests.items():
        for label in test.labels:
            own, ours = (
                [[mark for mark in some if mark.label == label] for some in each]
                for each in (test.marks, marks[language])
            )
            found.append(Slice(name=f"label, {language}", group=label, metrics=score(agreement(own, ours))))
    return found


def sections(report: Report, parts: Sequence[Slice], pii: Mapping[str, Mapping[str, Metric]]) -> list[Section]:
    """What the page shows."""
    rows: list[dict[str, Any]] = [
        {
            "language": part.name.removeprefix("label, "),
            "label": part.group,
            "marks": part.metrics["f1"].n,
            **part.metrics,
        }
        for part in parts
    ]
    hidden = [
        {"texts": protocol, **{n: some[n] for n in ("recall", "precision", "f1", "recall_whole") if n in some}}
        for protocol, some in pii.items()
    ]
    kinds = [
        {"texts": protocol, "identifier": name.removeprefix("recall_"), "there": metric.n, "masked": metric}
        for protocol, some in pii.items()
        for name, metric in some.items()
        if protocol.startswith("simulated")
        and name not in ("recall_whole", "recall_hipaa")
        and name.startswith("recall_")
    ]
    said = {n: report.metrics[f"negation_{n}"] for n in ("f1", "precision", "recall")}
    named = {f"{ENGLISH.get(part.group, part.group)} ({part.name[-2:]})": part.metrics["f1"] for part in parts}
    intervals = [(metric.low, metric.high) for metric in named.values()]
    heights = [metric.value for metric in named.values()]
    return [
        Section("Intended use", SYSTEM.intended_use),
        Section(
            "Entities",
            "Whole marks: first and last character and label are those of the corpus.",
            [plots.bars(list(named), heights, "Entities by label", "F1", intervals)],
            rows,
        ),
        Section("Denials", "Whether a concept is denied, where its place is given.", table=[said]),
        Section(
            "Identifiers",
            "By letters and digits: recall is what is masked of what identifies, precision how much of what is masked "
            "does. Simulated lines are by the same hand as the rules: an upper bound.",
            table=hidden,
        ),
        Section("Kinds of identifiers", "Identifiers of which not one letter or digit stays.", table=kinds),
    ]


def report_of(**values: Any) -> Report:
    """A report with what is the same in all of them."""
    same: dict[str, Any] = {"preset": "bundle", "baselines": {}, "published": [], "slices": []} | values
    return Report(system=SYSTEM.name, peak_rss_mb=peak_rss_mb(), machine=machine(), commit=commit(), **same)
