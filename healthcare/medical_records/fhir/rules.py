"""Rules of FHIR R4 that no table of fields says: its invariants (FHIRPath there), those that wrong data breaks most.

Each key in a message (`per-1`) is the specification's own. The many invariants that only authors of profiles and
terminologies meet are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from healthcare.medical_records.fhir.lossless import walk
from healthcare.medical_records.fhir.problem import Problem

Json = dict[str, Any]
Found = Iterator[tuple[str, str, str, str]]
"""Where below the object, what is wrong, got, expected."""


def broken_rules(value: Json, kind: str, path: str) -> Iterator[Problem]:
    """The rules that an object of this type breaks; a field of a wrong type breaks none, the table tells of it."""
    for rule in (*_RULES.get(kind, ()), *((_contained,) if "contained" in value else ())):
        for below, what, got, expected in rule(value):
            yield Problem(f"{path}{below}", what, got, expected)


def _extension(value: Json) -> Found:
    given = [name for name in value if name.lstrip("_").startswith("value")]
    if bool(given) == ("extension" in value):
        got = "both" if given else "neither"
        yield "", "an extension has a value or extensions (ext-1)", got, "one of the two"


def _period(value: Json) -> Found:
    start, end = value.get("start"), value.get("end")
    if isinstance(start, str) and isinstance(end, str) and _after(start, end):
        yield "", "ends before it starts (per-1)", f"{start} to {end}", "start at or before end"


def _after(start: str, end: str) -> bool:
    """Whether one moment is later than another, as far as both say: to the second where both give a time zone."""
    same = min(len(start), len(end), 10)
    try:
        return datetime.fromisoformat(start) > datetime.fromisoformat(end)
    except (ValueError, TypeError):
        return start[:same] > end[:same]


def _quantity(value: Json) -> Found:
    if "code" in value and "system" not in value:
        yield ".system", "a code of a unit needs its system (qty-3)", "none", "such as http://unitsofmeasure.org"


def _attachment(value: Json) -> Found:
    if "data" in value and "contentType" not in value:
        yield ".contentType", "data needs its content type (att-1)", "none", "such as text/plain"


def _contact(value: Json) -> Found:
    if "value" in value and "system" not in value:
        yield ".system", "a value needs its system (cpt-2)", "none", "phone, email or another"


def _observation(value: Json) -> Found:
    given = [name for name in value if name.startswith("value")]
    if given and "dataAbsentReason" in value:
        yield ".dataAbsentReason", "a value, and a reason why there is none (obs-6)", given[0], "one of the two"


def _condition(value: Json) -> Found:
    state = _first_code(value.get("verificationStatus"))
    if state == "entered-in-error" and "clinicalStatus" in value:
        yield ".clinicalStatus", "a condition entered in error has no clinical status (con-5)", "one", "none"
    now = _first_code(value.get("clinicalStatus"))
    if now in ("active", "recurrence", "relapse") and any(name.startswith("abatement") for name in value):
        yield ".clinicalStatus", "abated, but not inactive (con-4)", now, "inactive, resolved or remission"


def _contained(value: Json) -> Found:
    used = {part for _, part, _ in walk(value) if isinstance(part, str) and part.startswith("#")}
    for at, part in enumerate(listed(value["contained"])):
        if not isinstance(part, dict):
            continue
        if f"#{part.get('id')}" not in used and not any(each == "#" for _, each, _ in walk(part)):
            got = f"nothing refers to #{part.get('id')}"
            yield f".contained[{at}]", "a contained resource that nothing refers to (dom-3)", got, "a reference"
        if "contained" in part:
            yield f".contained[{at}].contained", "a contained resource contains none (dom-2)", "one", "none"
        meta = part.get("meta")
        for name in ("versionId", "lastUpdated", "security"):
            if isinstance(meta, dict) and name in meta:
                rule = "dom-5" if name == "security" else "dom-4"
                yield f".contained[{at}].meta.{name}", f"a contained resource has none ({rule})", "one", "none"


def _bundle(value: Json) -> Found:
    kind = value.get("type")
    entries = [each for each in listed(value.get("entry")) if isinstance(each, dict)]
    if "total" in value and kind not in ("searchset", "history"):
        yield ".total", "only a search or a history has a total (bdl-1)", str(kind), "searchset or history"
    if kind == "document":
        for name in ("identifier", "timestamp"):
            if name not in value:
                yield f".{name}", "missing (bdl-9, bdl-10)", "", "one: a document requires it"
    first = {"document": "Composition", "message": "MessageHeader"}.get(str(kind))
    told = (entries[0].get("resource") or {}) if entries else {}
    if first and isinstance(told, dict) and told.get("resourceType") != first:
        got = str(told.get("resourceType", "none"))
        yield ".entry[0].resource", f"does not begin as a {kind} does (bdl-11, bdl-12)", got, first
    for at, entry in enumerate(entries):
        asked = kind in ("batch", "transaction", "history")
        if ("request" in entry) != asked:
            got, expected = ("none", "one") if asked else ("one", "none")
            yield f".entry[{at}].request", f"the request of an entry of a {kind} (bdl-3)", got, expected
    yield from _full_urls(entries)


def _full_urls(entries: list[Json]) -> Found:
    seen: dict[tuple[str, str], int] = {}
    for at, entry in enumerate(entries):
        url, resource = entry.get("fullUrl"), entry.get("resource")
        if not isinstance(url, str) or not isinstance(resource, dict):
            continue
        meta = resource.get("meta")
        key = (url, str(meta.get("versionId", "")) if isinstance(meta, dict) else "")
        if key in seen:
            yield f".entry[{at}].fullUrl", "stands twice (bdl-7)", url, f"one other than entry[{seen[key]}]'s"
        seen[key] = at
        if "/_history/" in url:
            yield f".entry[{at}].fullUrl", "names a version (bdl-8)", url, "one without /_history/"


def _first_code(concept: Any) -> str:
    codings = listed(concept.get("coding")) if isinstance(concept, dict) else []
    return str(codings[0].get("code")) if codings and isinstance(codings[0], dict) else ""


def listed(value: Any) -> list[Any]:
    """The list that a field holds; empty if it holds another thing, which the table tells of."""
    return value if isinstance(value, list) else []


_RULES: dict[str, tuple[Callable[[Json], Found], ...]] = {
    "Extension": (_extension,),
    "Period": (_period,),
    "Quantity": (_quantity,),
    "Age": (_quantity,),
    "Duration": (_quantity,),
    "Attachment": (_attachment,),
    "ContactPoint": (_contact,),
    "Observation": (_observation,),
    "Condition": (_condition,),
    "Bundle": (_bundle,),
}
