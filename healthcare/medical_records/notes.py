"""A note read by rules and dictionary: language, sections, entities with what is said of them, results, medications."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from common.errors import InvalidRequest, RequestTooLarge
from healthcare.medical_records.abbreviations import Abbreviation, abbreviations
from healthcare.medical_records.assertion import assertions_of
from healthcare.medical_records.dictionary import Dictionary
from healthcare.medical_records.labs import LabValue, lab_values
from healthcare.medical_records.medication import Medication, medications, named_by_dose
from healthcare.medical_records.sections import Section, section_at, sections
from healthcare.medical_records.spans import Entity, Language

LONGEST = 1_000_000
"""Characters of one note; a longer one is refused: it is a file of many notes, or no note."""
_HAN, _LATIN = re.compile(r"[\u4e00-\u9fff]"), re.compile(r"[A-Za-z]")
_OTHER = re.compile(
    r"[\u3040-\u30ff\uac00-\ud7af\u0400-\u04ff\u0600-\u06ff\u0590-\u05ff\u0e00-\u0e7f\u0900-\u097f\u0370-\u03ff]"
)
_ENGLISH = re.compile(
    r"\b(?:the|of|and|no|with|to|is|was|for|in|denies|patient|history|pain|left|right|normal|on|at|she|he|has|had|mg|daily"
    r"|not|are|without|negative|positive|status|acute|chronic)\b",
    re.IGNORECASE,
)
_FOREIGN = re.compile(
    r"\b(?:der|die|das|und|nicht|mit|keine?|le|les|des|est|pas|avec|une|el|los|las|del|una|sin|paciente|il|della|con|per|não"
    r"|sem|dor|het|een|niet|och|inte)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Note:
    """What stands in a note. Entities are in order and do not overlap; every one has its assertion."""

    text: str
    language: Language
    sections: tuple[Section, ...]
    entities: tuple[Entity, ...]
    results: tuple[LabValue, ...]
    medications: tuple[Medication, ...]
    abbreviations: tuple[Abbreviation, ...]

    @property
    def density(self) -> float:
        """Entities for every 100 characters: notes of another kind have more or fewer."""
        return 100 * len(self.entities) / len(self.text)


def read_note(text: str, dictionary: Dictionary, extra: Sequence[Entity] = ()) -> Note:
    """The note, with the dictionary's entities and `extra` ones (a model's). Of two that overlap the extra one stays
    if it holds the other and more.

    Raises `InvalidRequest` for an empty note or another language than English and Chinese, and `RequestTooLarge`.
    """
    language = language_of(text)
    parts = sections(text)
    known = dictionary.find(text)
    found = _merged(_outside(extra, known), known)
    doses = [Entity("drug", start, end, text[start:end]) for start, end in named_by_dose(text)]
    found = _merged(found, doses) if doses else found
    found = [entity for entity in found if entity.start >= section_at(parts, entity.start).body]
    said = assertions_of(text, [(entity.start, entity.end) for entity in found], inside=False)
    entities = tuple(entity.asserted(what) for entity, what in zip(found, said, strict=True))
    drugs = [(entity.start, entity.end) for entity in entities if entity.kind == "drug"]
    return Note(
        text,
        language,
        tuple(parts),
        entities,
        tuple(lab_values(text)),
        tuple(medications(text, drugs)),
        tuple(abbreviations(text)),
    )


def language_of(text: str) -> Language:
    """The language of a note: Chinese when a fifth of its letters is, else English when it reads so.

    Raises `InvalidRequest` naming what was seen when it is neither, or nothing, and `RequestTooLarge` over `LONGEST`.
    """
    expected = "a clinical note in English or Chinese"
    if len(text) > LONGEST:
        fix = "send each note by itself"
        raise RequestTooLarge(
            "the note is too long", got=f"{len(text):,} characters", expected=f"at most {LONGEST:,}", fix=fix
        )
    sample = text if len(text) <= 20_000 else text[:10_000] + text[-10_000:]
    han, latin, other = (len(pattern.findall(sample)) for pattern in (_HAN, _LATIN, _OTHER))
    if not han + latin + other:
        raise InvalidRequest(
            "the note has no text", where="text", got=f"{len(text)} characters, no letter among them", expected=expected
        )
    english, foreign = len(_ENGLISH.findall(sample)), len(_FOREIGN.findall(sample))
    if other > han + latin or (han < latin / 4 and foreign > 3 and foreign > english):
        got = "letters of another script" if other > han + latin else "words of another language"
        raise InvalidRequest("the language is not supported", where="text", got=got, expected=expected)
    return "zh" if han >= latin / 4 else "en"


def _outside(extra: Iterable[Entity], known: Sequence[Entity]) -> list[Entity]:
    """Those that hold all of `known`, disjoint and in order, that they touch, and more than one of them."""
    starts, ends = [entity.start for entity in known], [entity.end for entity in known]
    kept = []
    for entity in extra:
        touched = known[bisect_right(ends, entity.start) : bisect_left(starts, entity.end)]
        whole = all(entity.start <= one.start and one.end <= entity.end for one in touched)
        if whole and not any((one.start, one.end) == (entity.start, entity.end) for one in touched):
            kept.append(entity)
    return kept


def _merged(first: Iterable[Entity], second: Iterable[Entity]) -> list[Entity]:
    """Both in order of place; of two that overlap the one of `first` stays."""
    kept = sorted(first, key=lambda entity: entity.start)
    ends, result, i = 0, list(kept), 0
    for entity in sorted(second, key=lambda entity: entity.start):
        while i < len(kept) and kept[i].end <= entity.start:
            i += 1
        if entity.start >= ends and not (i < len(kept) and kept[i].start < entity.end):
            result.append(entity)
            ends = entity.end
    return sorted(result, key=lambda entity: entity.start)
