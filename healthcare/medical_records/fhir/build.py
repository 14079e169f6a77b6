"""Small pieces of FHIR out of what a note says: concepts, statuses, quantities, dosages, values of observations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from healthcare.medical_records.fhir.lossless import Number
from healthcare.medical_records.labs import LabValue
from healthcare.medical_records.medication import Frequency, Medication, Quantity
from healthcare.medical_records.spans import UCUM, Code

Json = dict[str, Any]
_HL7 = "http://terminology.hl7.org/CodeSystem/"
FAMILY: Json = {"coding": [{"system": f"{_HL7}v3-RoleCode", "code": "FAMMEMB", "display": "family member"}]}
"""A relative: which one, the assertion does not say."""
_FLAGS = {"high": "H", "low": "L", "normal": "N", "abnormal": "A"}
_WHEN = {"morning": "MORN", "evening": "EVE"}
_PERIODS = {"s", "min", "h", "d", "wk", "mo", "a"}


def reference(link: str) -> Json:
    """A Reference."""
    return {"reference": link}


def plain(text: str) -> str:
    """Text as FHIR allows it: a control character, such as a page break, is a space."""
    return "".join(each if each >= " " or each in "\t\n\r" else " " for each in text)


def status(system: str, code: str) -> Json:
    """A CodeableConcept of one of HL7's own code systems."""
    return {"coding": [{"system": f"{_HL7}{system}", "code": code}]}


def concept(text: str, codes: Sequence[Code]) -> Json:
    """A CodeableConcept: the note's own words, and codes where a table has them."""
    coding = [{"system": each.system, "code": each.code, "display": each.display} for each in codes]
    return {**({"coding": coding} if coding else {}), "text": plain(text)}


def observed(result: LabValue) -> Json:
    """The value, flag and range of an Observation. A unit is given as written, and its UCUM code where it has one."""
    unit: Json = {"unit": result.unit} if result.unit else {}
    if result.ucum:
        unit |= {"system": UCUM, "code": result.ucum}
    found: Json = {}
    if result.value is None:
        found["valueString"] = plain(result.written)
    else:
        comparator = {"comparator": result.comparator} if result.comparator else {}
        found["valueQuantity"] = {"value": _as_written(result.written, result.value), **comparator, **unit}
    if result.flag:
        found["interpretation"] = [status("v3-ObservationInterpretation", _FLAGS[result.flag])]
    ends = {name: end for name, end in (("low", result.low), ("high", result.high)) if end is not None}
    if ends:
        found["referenceRange"] = [{name: {"value": _number(end), **unit} for name, end in ends.items()}]
    return found


def dosage(sig: Medication) -> Json:
    """A Dosage: the words as written, and dose, route, timing as far as they were understood."""
    found: Json = {"text": plain(sig.text)}
    if sig.frequency or sig.duration:
        found["timing"] = {"repeat": _repeat(sig.frequency, sig.duration)}
    if sig.as_needed:
        found["asNeededBoolean"] = True
    if sig.route and sig.route_span:
        found["route"] = {"text": sig.route}
    amount = sig.dose or sig.amount
    if amount:
        known = {"system": UCUM, "code": amount.unit} if amount is sig.dose else {}
        low = {"value": _number(amount.value), "unit": amount.unit, **known}
        if amount.high is None:
            found["doseAndRate"] = [{"doseQuantity": low}]
        else:
            found["doseAndRate"] = [{"doseRange": {"low": low, "high": {**low, "value": _number(amount.high)}}}]
    return found


def _repeat(often: Frequency | None, duration: Quantity | None) -> Json:
    found: Json = {}
    if duration and duration.unit in _PERIODS:
        low = {"value": _number(duration.value), "unit": duration.unit, "system": UCUM, "code": duration.unit}
        if duration.high is None:
            found["boundsDuration"] = low
        else:
            found["boundsRange"] = {"low": low, "high": {**low, "value": _number(duration.high)}}
    if often and often.unit == "once":
        found["count"] = 1
    elif often and often.unit in _PERIODS and often.times == int(often.times):
        found |= {"frequency": int(often.times), "period": _number(often.period)}
        found |= {"periodMax": _number(often.longest)} if often.longest else {}
        found |= {"periodUnit": often.unit} | ({"when": [_WHEN[often.when]]} if often.when in _WHEN else {})
    return found


def _number(value: float) -> int | Number:
    return int(value) if value == int(value) else Number(repr(value))


def _as_written(written: str, value: float) -> int | Number:
    """With the digits that stand in the note: 7.80 stays 7.80, and 7,8 is 7.8."""
    for text in (written, written.replace(",", "."), written.replace(",", "")):
        if text.replace(".", "", 1).isdigit() and text[0] != "." and text[-1] != "." and float(text) == value:
            return Number(text) if "." in text and not text.startswith("00") else _number(value)
    return _number(value)
