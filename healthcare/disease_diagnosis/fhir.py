"""Measurements out of a FHIR R4 Bundle: Patient and Observations, by LOINC code or by the field's own name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from common.errors import InvalidRequest
from healthcare.disease_diagnosis.fields import Measurement

LOINC = "http://loinc.org"
OWN = "urn:espalier:disease_diagnosis"
"""Codes of this system are the names of the fields."""
UNITS = {"mm[Hg]": "mm Hg", "mg/dL": "mg/dL", "/min": "/min", "a": "year", "mm": "mm"}
"""UCUM codes of the units that fields are in."""
DAYS_A_YEAR = 365.25


def measurements_of(content: bytes, fields: Sequence[Measurement]) -> dict[str, Any]:
    """Field by field what the bundle says.

    Raises `InvalidRequest` naming the entry: no bundle, an unknown code, a unit that is not the field's, a field told
    twice. Nothing is converted and nothing skipped.
    """
    bundle = _parsed(content)
    codes = {(OWN, field.name): field for field in fields}
    codes |= {(LOINC, code): field for field in fields for code in field.loinc}
    found: dict[str, Any] = {}
    for number, entry in enumerate(bundle["entry"]):
        where = f"entry[{number}].resource"
        resource: Any = entry.get("resource") if isinstance(entry, dict) else None
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        if kind == "Patient":
            told = _of_person(resource, where, {field.name for field in fields})
        elif kind == "Observation":
            told = _of_observation(resource, where, codes)
        else:
            raise InvalidRequest("not a Patient or an Observation", where=where, got=repr(kind), fix="leave it out")
        if twice := sorted(found.keys() & told.keys()):
            raise InvalidRequest(
                "measured twice", where=where, got=twice[0], expected="one value", fix="send the latest"
            )
        found |= told
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
    coding = resource.get("code", {}).get("coding", []) if isinstance(resource.get("code"), dict) else []
    told = [(str(one.get("system")), str(one.get("code"))) for one in coding if isinstance(one, dict)]
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
