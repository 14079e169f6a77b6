"""Where marked notes, terms and identifiers come from: the simulator, published sets, or a file of your own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args
from zlib import crc32

from common.data.card import Published, load_card
from common.data.card import published as published_on_card
from common.data.fetch import data_sha256, fetch
from common.errors import DatasetUnavailable, SchemaError
from common.files import sha256
from common.text.tags import Mark
from healthcare.medical_records.config import PUBLISHED, Config
from healthcare.medical_records.deid.data import read_presidio
from healthcare.medical_records.deid.fit_tagger import plain, refilled
from healthcare.medical_records.deid.simulator import Annotated
from healthcare.medical_records.deid.simulator import simulate as simulate_identifiers
from healthcare.medical_records.dictionary import Dictionary
from healthcare.medical_records.ner import units_of
from healthcare.medical_records.ner_data import Marked, read_chinese, read_pubtator
from healthcare.medical_records.simulator import SIMULATED, Simulated, simulate, tables
from healthcare.medical_records.spans import Kind, Language
from healthcare.medical_records.terms import (
    abbreviation_terms,
    chinese_terms,
    drugref_terms,
    icd10cm_terms,
    ncbi_terms,
    own_terms,
    synthea_terms,
)

NCBI, CHINESE = "ncbi-disease", "chinese-ehr-ner"
EHR, QUESTIONS = "cehrner", "cmedqaner"
"""The two corpora of the Chinese card."""
PIECES = {EHR: "cEHRNER_{}.json", QUESTIONS: "cMedQANER_{}.json"}


@dataclass(frozen=True)
class Corpus:
    """Marked notes to learn from and to choose on. The test part is another call, `load_test`."""

    id: str
    title: str
    licence: str
    sha256: str
    simulated: bool
    train: Marked
    valid: Marked
    others: tuple[Marked, ...] = ()
    """Texts of the same language, marked otherwise or not at all."""


def corpora(config: Config) -> dict[Language, Corpus]:
    """What the token model of each language learns from.

    Raises `DatasetUnavailable`, `DataCorrupted`, or `SchemaError` naming the first bad row of a file of one's own.
    """
    if config.dataset == PUBLISHED:
        return {"en": load(NCBI), "zh": load(EHR)}
    if config.dataset == SIMULATED:
        return {language: _simulated(language, config) for language in get_args(Language)}
    return {language: corpus for language, (corpus, _) in own(config.dataset).items()}


def load(corpus: str) -> Corpus:
    """A published corpus: `ncbi-disease`, `cehrner` or `cmedqaner`."""
    card = load_card(NCBI if corpus == NCBI else CHINESE)
    train, valid = (_published(corpus, part) for part in ("train", "dev"))
    others = tuple(_published(other, "train") for other in PIECES if corpus in PIECES and other != corpus)
    return Corpus(corpus, card.title, card.licence, data_sha256(card), False, train, valid, others)


def load_test(corpus: str) -> Marked:
    """The test part of a published corpus: for `evaluate.py` and `bench.py` alone."""
    return _published(corpus, "test")


def load_tests(config: Config) -> dict[Language, Marked]:
    """The test part of every language, for `evaluate.py`; training hashes one that is not published."""
    if config.dataset == PUBLISHED:
        return {"en": load_test(NCBI), "zh": load_test(EHR)}
    if config.dataset == SIMULATED:
        return {language: one.marked for language, one in simulated_tests(config).items()}
    return {language: test for language, (_, test) in own(config.dataset).items()}


def simulated_tests(config: Config) -> dict[Language, Simulated]:
    """Simulated notes of the test part, which name nobody and whose denials are known."""
    return {language: simulate(language, config.notes // 2, config.seed, "test") for language in get_args(Language)}


def own(path: str) -> dict[Language, tuple[Corpus, Marked]]:
    """Notes of one's own by language, and those kept for the test: a fifth, by a hash of the text.

    JSON lines with `text` and `entities`, each with `start`, `end` (characters) and `kind`. With `null` for entities
    nobody marked the note: pre-training and vectors learn from it, nothing else. Raises `SchemaError` naming the first
    bad line, `DatasetUnavailable` without the file.
    """
    file = Path(path)
    if not file.is_file():
        expected = f"{SIMULATED}, {PUBLISHED}, or the path of a JSONL file"
        raise DatasetUnavailable("no such data set or file", got=path, expected=expected)
    content = file.read_bytes()
    parts: dict[Language, dict[str, Marked]] = {}
    for number, line in enumerate(content.decode().splitlines(), 1):
        if line.strip():
            text, marks = _row(line, f"{path}, line {number}")
            language: Language = "zh" if units_of([text]) == "characters" else "en"
            share = crc32(text.encode()) % 10
            part = "unmarked" if marks is None else "test" if share < 2 else "valid" if share < 4 else "train"
            kept = parts.setdefault(language, {}).setdefault(part, Marked([], [], []))
            kept.ids.append(str(number))
            kept.texts.append(text)
            kept.marks.append(marks or [])
    found: dict[Language, tuple[Corpus, Marked]] = {}
    for language, some in parts.items():
        if missing := {"train", "valid", "test"} - some.keys():
            got = f"no {language} note for {', '.join(sorted(missing))}"
            raise SchemaError("too few notes to split", where=path, got=got, expected="fifty of a language or more")
        id = f"{file.name} {language}"
        others = (some["unmarked"],) if "unmarked" in some else ()
        corpus = Corpus(id, file.name, "own data", sha256(content), False, some["train"], some["valid"], others)
        found[language] = corpus, some["test"]
    return found


def dictionary(config: Config) -> Dictionary:
    """Terms with codes: our own list and ICD-10-CM, for published data those of other openly licensed tables too."""
    terms = [*own_terms(), *icd10cm_terms()]
    if config.dataset == PUBLISHED:
        terms += [
            *synthea_terms(paths("synthea-fhir-r4-10")),
            *drugref_terms(paths("ddi-open")["drugref2-DDIs-from-OSCAR.csv"]),
            *ncbi_terms(paths(NCBI)["NCBItrainset_corpus.txt"]),
            *chinese_terms(paths(CHINESE)[PIECES[EHR].format("train")]),
        ]
    return Dictionary([*terms, *abbreviation_terms(terms)])


def identified(config: Config) -> list[Annotated]:
    """Texts with identifiers, for the tagger: no line, name or template of a test part among them."""
    wanted = config.identifiers
    found = simulate_identifiers(config.seed, wanted.variants, part="train", general=True)
    if wanted.refilled:
        train = read_presidio(paths("presidio-synth-pii"), part="train")
        found += refilled(train, wanted.refilled, seed=config.seed)
    for language in get_args(Language):
        notes = simulate(language, config.notes, config.seed, "train").marked.texts
        found += plain(notes, language)[: wanted.plain // (2 if config.dataset == PUBLISHED else 1)]
        if config.dataset == PUBLISHED:
            found += plain(load(NCBI if language == "en" else EHR).train.texts, language)[: wanted.plain]
    return found


def paths(dataset: str) -> dict[str, Path]:
    """The files of a published data set by name. Raises `DatasetUnavailable` or `DataCorrupted`."""
    return fetch(load_card(dataset))


def published(dataset: str, protocol: str) -> list[Published]:
    """Published numbers; those of the Chinese corpora stand on one card, by corpus."""
    if dataset in PIECES:
        found = published_on_card(CHINESE, dataset)
        return [entry.model_copy(update={"protocol": protocol}) for entry in found]
    return published_on_card(dataset, protocol)


def _published(corpus: str, part: str) -> Marked:
    if corpus == NCBI:
        name = {"train": "train", "dev": "develop", "test": "test"}[part]
        return read_pubtator(paths(NCBI)[f"NCBI{name}set_corpus.txt"].read_text(encoding="utf-8"))
    return read_chinese(paths(CHINESE)[PIECES[corpus].format(part)].read_text(encoding="utf-8"))


def _simulated(language: Language, config: Config) -> Corpus:
    train = simulate(language, config.notes, config.seed, "train").marked
    valid = simulate(language, config.notes // 4, config.seed, "valid").marked
    content = json.dumps(tables(), sort_keys=True, ensure_ascii=False).encode()
    title = "Simulated notes of no real patient"
    return Corpus(SIMULATED, title, "made here, no rights reserved", sha256(content), True, train, valid)


def _row(line: str, where: str) -> tuple[str, list[Mark] | None]:
    """Text and marks of a line of one's own file, no marks where nobody looked for them."""
    expected = '{"text": ..., "entities": [{"start": 0, "end": 5, "kind": "disease"}]}'
    try:
        row: Mapping[str, object] = json.loads(line)
        text, marks = str(row["text"]), None if row["entities"] is None else list(_marks(row["entities"]))
    except (ValueError, KeyError, TypeError) as error:
        raise SchemaError("not a note with its entities", where=where, got=error, expected=expected) from None
    for mark in marks or ():
        if mark.label not in get_args(Kind) or not 0 <= mark.start < mark.end <= len(text):
            got, kinds = f"{mark.label} at {mark.start} to {mark.end}", ", ".join(get_args(Kind))
            raise SchemaError("no entity of this text", where=where, got=got, expected=f"one of {kinds}, inside of it")
    return text, marks


def _marks(entities: object) -> Iterator[Mark]:
    if not isinstance(entities, list):
        raise TypeError("entities is no list")
    for each in entities:
        yield Mark(int(each["start"]), int(each["end"]), str(each["kind"]))
