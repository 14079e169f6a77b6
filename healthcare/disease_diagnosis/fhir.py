"""Measurements out of a FHIR R4 Bundle: Patient and Observations, by LOINC code or by the field's own name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from common.errors import InvalidRequest
from healthcare.disease_diagnosis.fields import Measurement

LOINC = "http://loinc.org"
OWN = "urn:espalier:disease_diagnosis"
"""Codes of this system are the names of the fields."""
UNITS = {"mm[Hg]": "mm Hg", "mg/dL": "mg/dL", "/min": "/min", "a": "year", "mm": "mm"}
"""UCUM codes of the units that fields are in."""
WITHDRAWN = ("cancelled", "entered-in-error")
"""States of an Observation that says nothing of the patient."""
DAYS_A_YEAR = 365.25


def measurements_of(content: bytes, fields: Sequence[Measurement]) -> dict[str, Any]:
    """Field by field what the bundle says; of a panel, such as one of blood pressures, its components.

    Raises `InvalidRequest` naming the entry: no bundle, an unknown code, a unit that is not the field's, a field told
    twice, a withdrawn observation, more than one patient. Nothing is converted and nothing skipped.
    """
    bundle = _parsed(content)
    codes = {(OWN, field.name): field for field in fields}
    codes |= {(LOINC, code): field for field in fields for code in field.loinc}
    found: dict[str, Any] = {}
    people: set[str] = set()
    for number, entry in enumerate(bundle["entry"]):
        where = f"entry[{number}].resource"
        resource: Any = entry.get("resource") if isinstance(entry, dict) else None
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        if kind not in ("Patient", "Observation"):
            raise InvalidRequest("not a Patient or an Observation", where=where, got=repr(kind), fix="leave it out")
        people |= _person(entry, resource)
        if len(people) > 1:
            got = ", ".join(sorted(people))
            raise InvalidRequest("another patient", where=where, got=got, expected="a bundle of one patient")
        if kind == "Patient":
            told = [(where, _of_person(resource, where, {field.name for field in fields}))]
        else:
            told = [(at, _of_observation(part, at, codes)) for at, part in _parts(resource, where, codes)]
        for at, values in told:
            if twice := sorted(found.keys() & values.keys()):
                expected, fix = "one value", "send the latest"
                raise InvalidRequest("measured twice", where=at, got=twice[0], expected=expected, fix=fix)
            found |= values
    return found


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        bundle = json.loads(content)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidRequest("not JSON", where="the body", got=str(error)[:80], expected="a FHIR R4 Bundle") from None
    kind = bundle.get("resourceType") if isinstance(bundle, dict) else None
    if kind != "Bundle" or not isinstance(bundle.get("entry"), list):
        raise InvalidRequest(
            "not a FHIR Bundle", where="resourceType", got=repr(kind), expected="'Bundle' with entries"
        )
    return dict(bundle)


def _person(entry: Mapping[str, Any], resource: Mapping[str, Any]) -> set[str]:
    """Who it is about, if it says so: references are relative, absolute, of a version, or an entry's `urn:uuid`."""
    subject = resource.get("subject")
    told = subject.get("reference") if isinstance(subject, dict) else None
    if resource["resourceType"] == "Patient":
        told = entry.get("fullUrl") or resource.get("id")
    if not told:
        return set()
    return {f"Patient/{str(told).partition('/_history')[0].rpartition('/')[2].removeprefix('urn:uuid:')}"}


def _parts(
    resource: Mapping[str, Any], where: str, codes: Mapping[tuple[str, str], Measurement]
) -> Iterator[tuple[str, Any]]:
    """The observation, or its components where its own code is unknown; and where each stands."""
    if resource.get("status") in WITHDRAWN:
        got = repr(resource["status"])
        raise InvalidRequest("a withdrawn observation", where=f"{where}.status", got=got, fix="leave it out")
    components = resource.get("component")
    if not isinstance(components, list) or any(code in codes for code in _codes(resource)):
        yield where, resource
        return
    for number, part in enumerate(components):
        yield f"{where}.component[{number}]", part if isinstance(part, dict) else {}


def _codes(resource: Mapping[str, Any]) -> list[tuple[str, str]]:
    coding = resource["code"].get("coding") if isinstance(resource.get("code"), dict) else None
    return [(str(one.get("system")), str(one.get("code"))) for one in coding or [] if isinstance(one, dict)]


def _of_person(resource: Mapping[str, Any], where: str, names: set[str]) -> dict[str, Any]:
    """Sex, and the age today, where the model asks for them."""
    found: dict[str, Any] = {}
    if "sex" in names and "gender" in resource:
        found["sex"] = resource["gender"]
    if "age" in names and "birthDate" in resource:
        try:
            born = date.fromisoformat(str(resource["birthDate"]))
        except ValueError:
            got = repr(resource["birthDate"])
            raise InvalidRequest("not a date", where=f"{where}.birthDate", got=got, expected="YYYY-MM-DD") from None
        found["age"] = float((date.today() - born).days // DAYS_A_YEAR)
    return found


def _of_observation(
    resource: Mapping[str, Any], where: str, codes: Mapping[tuple[str, str], Measurement]
) -> dict[str, Any]:
    told = _codes(resource)
    field = next((codes[code] for code in told if code in codes), None)
    if field is None:
        known = ", ".join(sorted(f"{code} ({field.name})" for (_, code), field in codes.items()))
        got = ", ".join(f"{system}|{code}" for system, code in told) or "no coding"
        fix = "map it to one of them or leave it out"
        raise InvalidRequest("unknown code", where=f"{where}.code", got=got, expected=f"one of {known}", fix=fix)
    if isinstance(quantity := resource.get("valueQuantity"), dict):
        unit = quantity.get("code") or quantity.get("unit")
        if field.unit and UNITS.get(str(unit), str(unit)) != field.unit:
            at = f"{where}.valueQuantity"
            raise InvalidRequest(f"{field.name} is in another unit", where=at, got=repr(unit), expected=field.unit)
        return {field.name: quantity.get("value")}
    if isinstance(concept := resource.get("valueCodeableConcept"), dict):
        shown = [one.get("display") for one in concept.get("coding") or [] if isinstance(one, dict)]
        return {field.name: concept.get("text") or next(iter(shown), None)}
    for kind in ("valueString", "valueInteger"):
        if kind in resource:
            return {field.name: resource[kind]}
    expected = "valueQuantity, valueCodeableConcept, valueString or valueInteger"
    raise InvalidRequest("no value", where=where, got=field.name, expected=expected)
