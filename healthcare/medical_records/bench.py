"""The reference benchmark: every part of the system on the published set that is for it.

Rules, triggers, recipes and thresholds were written and chosen on training and development parts
(`docs/medical_records.md`); the test parts are opened here.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator

import numpy as np

from common.bundle import Bundle
from common.data.card import load_card
from common.data.fetch import data_sha256
from common.evaluation.metrics import wilson
from common.evaluation.report import Metric, Report, Seconds
from common.files import sha256
from common.progress import bar
from common.text.onnx_tagger import OnnxTagger
from healthcare.medical_records.config import Config
from healthcare.medical_records.data import EHR, NCBI, QUESTIONS, load, load_test, paths, published
from healthcare.medical_records.deid.data import read_presidio
from healthcare.medical_records.deid.deidentify import Deidentifier
from healthcare.medical_records.deid.evaluate_deid import evaluate_deid
from healthcare.medical_records.deid.simulator import tables as templates
from healthcare.medical_records.evaluate import baseline, evaluate, guessing, report_of
from healthcare.medical_records.evaluate_assertion import ANNOTATIONS, evaluate_assertion, metrics_of, read_rows
from healthcare.medical_records.evaluate_ner import evaluate_ner, pretraining_gain
from healthcare.medical_records.fhir.consistency import compare, kept_notes, totals
from healthcare.medical_records.fhir.evaluate import evaluate_fhir
from healthcare.medical_records.fhir.read import read_ndjson
from healthcare.medical_records.model import RecordReader
from healthcare.medical_records.ner import RECIPES, Finder, train_ner
from healthcare.medical_records.spans import Language
from healthcare.medical_records.train import train

NEGEX, PII, EXAMPLES, SYNTHEA = (
    "negex-context-sentences",
    "presidio-synth-pii",
    "fhir-r4-examples",
    "synthea-fhir-r4-10",
)
TIMED = 300
"""Notes that are read for the clock."""
DENIED = re.compile(r"\b(?:no|not|denies|denied|without|negative)\b(?:\W+\w+){0,5}\W*$", re.IGNORECASE)
"""The baseline of negation: one of six words, at most six words before the concept."""


def bench(config: Config, preset: str) -> list[Report]:
    """One report per data set and protocol; other presets than `reference` give the report of their own bundle."""
    if preset != "reference":
        return [evaluate(train(config))[0].model_copy(update={"preset": preset})]
    kept: dict[str, Bundle] = {}

    def reader() -> RecordReader:
        if not kept:
            kept["bundle"] = train(config)
        return RecordReader.load(kept["bundle"])

    rows: dict[str, Callable[[], Iterator[Report]]] = {
        "negation": negation,
        "FHIR": round_trip,
        "notes": lambda: notes(reader()),
        "identifiers": lambda: identifiers(reader()),
        "cEHRNER": lambda: iter([entities(EHR, reader().finders["zh"])]),
        "NCBI disease, as served": lambda: iter([entities(NCBI, reader().finders["en"], "test-served")]),
        "NCBI disease": lambda: iter([entities(NCBI, None)]),
        "cMedQANER": lambda: iter([entities(QUESTIONS, None)]),
        "pre-training": gain,
    }
    found: list[Report] = []
    with bar("protocols", len(rows)) as advance:
        for name, row in rows.items():
            found += [report.model_copy(update={"preset": preset}) for report in row()]
            advance(1, name)
    return found


def negation() -> Iterator[Report]:
    """NegEx's sentences: all of them, the half that the triggers were not written on, and temporality."""
    started = time.perf_counter()
    files = paths(NEGEX)
    loaded = time.perf_counter()
    found = evaluate_assertion(files)
    rows = read_rows(files[ANNOTATIONS])
    truth = np.array([row.negated for row in rows], float)
    before = [row.sentence[: max(row.sentence.lower().find(row.concept.lower()), 0)] for row in rows]
    plain = metrics_of(truth, np.array([bool(DENIED.search(one)) for one in before], float), np.arange(len(rows)))
    seconds = Seconds(data=loaded - started, train=0.0, evaluate=time.perf_counter() - loaded)
    for protocol in ("all", "unseen", "temporality"):
        share = float(truth.mean())
        yield report_of(
            dataset=NEGEX,
            protocol=protocol,
            simulated=False,
            data_sha256=data_sha256(load_card(NEGEX)),
            metrics=found[protocol],
            floor={} if protocol == "temporality" else {"f1": 2 * share / (1 + share), "accuracy": 1 - share},
            baselines={"six words before": {n: m.value for n, m in plain.items()}} if protocol == "all" else {},
            published=published(NEGEX, protocol),
            seconds=seconds,
        )


def round_trip() -> Iterator[Report]:
    """Official examples of FHIR R4: read and written again, and broken in every way that we know."""
    started = time.perf_counter()
    files = paths(EXAMPLES)
    loaded = time.perf_counter()
    found = evaluate_fhir({name: path.read_bytes() for name, path in files.items()})
    yield report_of(
        dataset=EXAMPLES,
        protocol="round-trip",
        simulated=False,
        data_sha256=data_sha256(load_card(EXAMPLES)),
        metrics={
            "lossless": counted(found.lossless, found.examples),
            "explained": counted(found.explained.total(), found.broken.total()),
        },
        floor={"lossless": found.floor_rate, "explained": 0.0},
        seconds=Seconds(data=loaded - started, train=0.0, evaluate=time.perf_counter() - loaded),
    )


def notes(reader: RecordReader) -> Iterator[Report]:
    """Synthea's notes: how many are read in a second on one core, and whether they say what is recorded beside them."""
    started = time.perf_counter()
    lines = [line for path in paths(SYNTHEA).values() for line in path.read_bytes().splitlines()]
    records = read_ndjson(lines, most=2**30)
    texts = [note.text for note in kept_notes(records)[0]]
    loaded = time.perf_counter()
    some = [texts[i] for i in np.random.default_rng(0).choice(len(texts), TIMED, replace=False)]
    each = np.array([timed(reader.read, text) for text in some])
    deidentifier = Deidentifier(reader.identifiers)
    hidden = np.array([timed(deidentifier, text) for text in some])
    drawn = np.random.default_rng(1).integers(0, TIMED, (1_000, TIMED))
    metrics = {
        f"notes_per_second{name}": Metric(
            value=float(1 / seconds.mean()),
            low=float(np.quantile(1 / seconds[drawn].mean(axis=1), 0.025)),
            high=float(np.quantile(1 / seconds[drawn].mean(axis=1), 0.975)),
            n=TIMED,
        )
        for name, seconds in (("", each), ("_deidentified", each + hidden))
    }
    told = totals(compare(records, lambda text: reader.read(text).entities))
    metrics["agreed"] = counted(told["agreed"], told["agreed"] + told["contradicted"] + told["unrecorded"])
    yield report_of(
        dataset=SYNTHEA,
        protocol="notes",
        simulated=True,
        data_sha256=data_sha256(load_card(SYNTHEA)),
        metrics=metrics,
        seconds=Seconds(data=loaded - started, train=0.0, evaluate=time.perf_counter() - loaded),
    )


def identifiers(reader: RecordReader) -> Iterator[Report]:
    """What identifies: held-out templates of Presidio's, simulated clinical lines, names in Synthea's notes."""
    started = time.perf_counter()
    files, synthea = paths(PII), paths(SYNTHEA)
    loaded = time.perf_counter()
    found = evaluate_deid(Deidentifier(reader.identifiers), files, synthea)
    rules = evaluate_deid(Deidentifier(), files, synthea)
    test = read_presidio(files, part="test")
    letters = sum(c.isalnum() for one in test for c in one.text)
    own = sum(c.isalnum() for one in test for it in one.identifiers for c in it.text)
    share = own / letters
    lines = sha256(json.dumps(templates(), sort_keys=True, ensure_ascii=False).encode())
    for protocol, metrics in found.items():
        dataset = {"template-split": PII, "synthea-notes": SYNTHEA}.get(protocol, "identifiers-simulated")
        yield report_of(
            dataset=dataset,
            protocol=protocol,
            simulated=dataset != PII,
            data_sha256=data_sha256(load_card(dataset)) if dataset in (PII, SYNTHEA) else lines,
            metrics=metrics,
            floor={"f1": 2 * share / (1 + share), "precision": share} if dataset == PII else {},
            baselines={"rules alone": {name: metric.value for name, metric in rules[protocol].items()}},
            seconds=Seconds(data=loaded - started, train=0.0, evaluate=time.perf_counter() - loaded),
        )


def entities(corpus: str, finder: Finder | None, protocol: str = "test") -> Report:
    """Whole marks of a corpus' test part, by a given model or one of its recipe."""
    started = time.perf_counter()
    data = load(corpus)
    loaded = time.perf_counter()
    finder = finder or OnnxTagger(*train_ner(data.train, data.valid, RECIPES[corpus], seed=0, others=data.others))
    trained = time.perf_counter()
    test = load_test(corpus)
    language: Language = "en" if corpus == NCBI else "zh"
    simple = baseline({language: data.train}, {language: test})
    return report_of(
        dataset=corpus,
        protocol=protocol,
        simulated=False,
        data_sha256=data.sha256,
        metrics=evaluate_ner(test, finder),
        floor={"f1": guessing({language: data.train}, {language: test})},
        baselines={"longest match of training phrases": {"f1": simple[f"f1_{language}"]}},
        published=published(corpus, "test"),
        seconds=Seconds(data=loaded - started, train=trained - loaded, evaluate=time.perf_counter() - trained),
    )


def gain() -> Iterator[Report]:
    """What masked pre-training on the records of cEHRNER adds where a hundred of them are labelled."""
    started = time.perf_counter()
    data = load(EHR)
    loaded = time.perf_counter()
    found = pretraining_gain(data.train, load_test(EHR))
    yield report_of(
        dataset=EHR,
        protocol="pretrained-100-labelled",
        simulated=False,
        data_sha256=data.sha256,
        metrics={"f1": found["with"]},
        baselines={"the same without pre-training": {"f1": found["without"].value}},
        seconds=Seconds(data=loaded - started, train=time.perf_counter() - loaded, evaluate=0.0),
    )


def timed(act: Callable[[str], object], text: str) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    act(text)
    return time.perf_counter() - started


def counted(event: int, n: int) -> Metric:
    """A share with Wilson's interval."""
    low, high = wilson(event, max(n, 1))
    return Metric(value=event / max(n, 1), low=float(low), high=float(high), n=n)
