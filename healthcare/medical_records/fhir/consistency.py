"""Notes kept as DocumentReference, and whether they say the same as the Conditions recorded beside them."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from healthcare.medical_records.fhir.problem import Problem
from healthcare.medical_records.fhir.read import Records
from healthcare.medical_records.fhir.rules import listed
from healthcare.medical_records.spans import Entity

Json = dict[str, Any]
Finder = Callable[[str], Sequence[Entity]]
"""What reads a note: its entities, each with its assertion."""
_TAG = re.compile(r"\s*\((disorder|finding|situation|procedure|event)\)$")
_CHARSET = re.compile(r"charset=\"?([\w.-]+)", re.IGNORECASE)


@dataclass(frozen=True)
class KeptNote:
    """A note of a DocumentReference; `day` is YYYY-MM-DD, or less of it, or empty where none is given."""

    name: str
    text: str
    patient: str
    day: str


@dataclass(frozen=True)
class Recorded:
    """A Condition: its names and codes, and the days from which to which it holds (empty: not given)."""

    key: str
    names: frozenset[str]
    start: str
    end: str
    refuted: bool


@dataclass(frozen=True)
class Agreement:
    """One note beside the Conditions that hold on its day. Each pair is what the note says and the Condition's key."""

    note: KeptNote
    agreed: tuple[tuple[Entity, str], ...]
    contradicted: tuple[tuple[Entity, str], ...]
    unrecorded: tuple[Entity, ...]
    unsaid: tuple[str, ...]


def kept_notes(records: Records) -> tuple[list[KeptNote], list[Problem]]:
    """The text of every DocumentReference, in its attachment or in a Binary at hand, and why others have none."""
    notes: list[KeptNote] = []
    problems: list[Problem] = []
    for node in records.nodes:
        if node.resource.get("resourceType") != "DocumentReference":
            continue
        text, why = _text(node.resource, records)
        if why:
            problems.append(Problem(f"{node.name}.content", why, expected="text/plain in data, or a Binary at hand"))
        else:
            patient = _patient(node.resource, records)
            notes.append(KeptNote(node.key or node.name, text, patient, _day(node.resource.get("date"))))
    return notes, problems


def compare(records: Records, find: Finder) -> Iterator[Agreement]:
    """Note by note, what it says of its patient beside what is recorded of that patient.

    A Condition holds from its onset (else the day it was recorded) until its abatement; a note may also speak of those
    that are over. The two meet where they share a code, or a name but for case. What the note says of others, or only
    fears, is passed over. `contradicted`: denied where it holds, or affirmed where refuted; `unsaid`: holds on that day
    and is not in the note, which need be no fault; `unrecorded`: a disease affirmed in the note that no Condition has.
    """
    by_patient: dict[str, list[Recorded]] = defaultdict(list)
    for node in records.nodes:
        if node.resource.get("resourceType") == "Condition":
            by_patient[_patient(node.resource, records)].append(_recorded(node.resource, node.key or node.name))
    for note in kept_notes(records)[0]:
        yield _agreement(note, by_patient.get(note.patient, []), find(note.text))


def totals(agreements: Iterable[Agreement]) -> dict[str, int]:
    """Over all notes: how many there are, and how many agree, contradict, go unrecorded and unsaid."""
    found = dict.fromkeys(("notes", "agreed", "contradicted", "unrecorded", "unsaid"), 0)
    for each in agreements:
        found["notes"] += 1
        for name in ("agreed", "contradicted", "unrecorded", "unsaid"):
            found[name] += len(getattr(each, name))
    return found


def _agreement(note: KeptNote, recorded: list[Recorded], entities: Sequence[Entity]) -> Agreement:
    known = [each for each in recorded if _begun(each, note.day)]
    by_name: dict[str, list[Recorded]] = defaultdict(list)
    for each in known:
        for name in each.names:
            by_name[name].append(each)
    agreed: list[tuple[Entity, str]] = []
    contradicted: list[tuple[Entity, str]] = []
    unrecorded: list[Entity] = []
    said: set[str] = set()
    for entity in entities:
        what = entity.assertion
        if what is None or what.experiencer != "patient" or what.temporality == "hypothetical":
            continue
        met = sorted({each for name in _names_of(entity) for each in by_name.get(name, ())}, key=lambda one: one.start)
        said |= {each.key for each in met}
        same = [each for each in met if what.negated == each.refuted]
        against = [each for each in met if not _ended(each, note.day)]
        if same:
            agreed.append((entity, same[-1].key))
        elif against:
            contradicted.append((entity, against[-1].key))
        elif not met and entity.kind == "disease" and not what.negated:
            unrecorded.append(entity)
    holding = (each for each in known if not each.refuted and not _ended(each, note.day))
    unsaid = tuple(each.key for each in holding if each.key not in said)
    return Agreement(note, tuple(agreed), tuple(contradicted), tuple(unrecorded), unsaid)


def _begun(condition: Recorded, day: str) -> bool:
    """Whether a condition has begun by a day; of two dates as much is compared as both give."""
    return condition.start[: len(day)] <= day[: len(condition.start)]


def _ended(condition: Recorded, day: str) -> bool:
    return bool(condition.end) and condition.end[: len(day)] < day[: len(condition.end)]


def _recorded(condition: Json, key: str) -> Recorded:
    code = condition.get("code") if isinstance(condition.get("code"), dict) else {}
    codings = [each for each in listed((code or {}).get("coding")) if isinstance(each, dict)]
    names = {_plain((code or {}).get("text")), *(_plain(each.get("display")) for each in codings)}
    names |= {f"{each.get('system')}|{each.get('code')}" for each in codings}
    states = listed((condition.get("verificationStatus") or {}).get("coding"))
    return Recorded(
        key=key,
        names=frozenset(names - {""}),
        start=_day(condition.get("onsetDateTime")) or _day(condition.get("recordedDate")),
        end=_day(condition.get("abatementDateTime")),
        refuted=any(isinstance(state, dict) and state.get("code") == "refuted" for state in states),
    )


def _names_of(entity: Entity) -> set[str]:
    return {_plain(entity.text), *(f"{code.system}|{code.code}" for code in entity.codes)}


def _plain(text: Any) -> str:
    return _TAG.sub("", text.strip().lower()) if isinstance(text, str) else ""


def _day(moment: Any) -> str:
    return moment[:10] if isinstance(moment, str) else ""


def _patient(resource: Json, records: Records) -> str:
    """The patient's `Type/id` where the reference can be followed, else the reference itself."""
    subject = resource.get("subject")
    link = subject.get("reference") if isinstance(subject, dict) else None
    if not isinstance(link, str):
        return ""
    found = records.graph.find(link)
    return f"{found.get('resourceType')}/{found.get('id')}" if found and "id" in found else link


def _text(document: Json, records: Records) -> tuple[str, str]:
    """The text, or why there is none."""
    why = "no plain text"
    for content in listed(document.get("content")):
        attachment = content.get("attachment") if isinstance(content, dict) else None
        if not isinstance(attachment, dict) or not str(attachment.get("contentType", "")).startswith("text/plain"):
            continue
        data, url = attachment.get("data"), attachment.get("url")
        if data is None and isinstance(url, str):
            data = (records.graph.find(url) or {}).get("data")
        if not isinstance(data, str):
            why = "its text is elsewhere"
            continue
        charset = _CHARSET.search(attachment["contentType"])
        try:
            return b64decode("".join(data.split()), validate=True).decode(charset[1] if charset else "utf-8"), ""
        except (binascii.Error, UnicodeDecodeError, LookupError) as error:
            why = f"its text cannot be read ({type(error).__name__})"
    return "", why
