"""How much of FHIR R4 survives a round trip, and how many faults are explained, on official examples."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.errors import InvalidRequest
from healthcare.medical_records.fhir.breakers import Broken, break_each
from healthcare.medical_records.fhir.lossless import dump, parse
from healthcare.medical_records.fhir.read import explain, read


@dataclass
class FhirNumbers:
    """Counts over the examples; `faults` names the examples that our own validator objects to, and why."""

    examples: int = 0
    lossless: int = 0
    plain_json_lossless: int = 0
    faults: dict[str, list[str]] = field(default_factory=dict)
    broken: Counter[str] = field(default_factory=Counter)
    explained: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)

    @property
    def lossless_rate(self) -> float:
        """Examples whose every token, name and order survived, as a fraction."""
        return self.lossless / self.examples

    @property
    def floor_rate(self) -> float:
        """The same of Python's `json` alone: loads and dumps."""
        return self.plain_json_lossless / self.examples

    @property
    def explained_rate(self) -> float:
        """Broken documents of which an explanation names the broken place, as a fraction."""
        return self.explained.total() / self.broken.total()


def evaluate_fhir(examples: Mapping[str, bytes], seed: int = 0) -> FhirNumbers:
    """Measure on sound documents by name.

    Lossless: what is read and written again has the same JSON tokens (digits of numbers included), names and order;
    white space between tokens and the escapes of characters may differ. It is judged by Python's `json` and not by the
    reader. Explained: a document broken in one known place (`breakers`) gets an error, absent before, whose path is the
    broken place or lies in it; if it is no JSON at all, an error with line and column or the name that stands twice.
    """
    numbers = FhirNumbers()
    for name, content in examples.items():
        numbers.examples += 1
        before = _tokens(content)
        numbers.plain_json_lossless += _tokens(json.dumps(json.loads(content))) == before
        try:
            records = read(content, name)
        except InvalidRequest as error:
            numbers.faults[name] = [str(error)]
            continue
        numbers.lossless += _tokens(dump(records.nodes[0].resource)) == before
        known = {str(problem) for problem in records.problems if problem.severity == "error"}
        if known:
            numbers.faults[name] = sorted(known)
        for broken in break_each(parse(content), seed + zlib.crc32(name.encode())):
            numbers.broken[broken.way] += 1
            if _is_explained(broken, known):
                numbers.explained[broken.way] += 1
            else:
                numbers.missed.append(f"{name}: {broken.way} at {broken.path or 'the text'}")
    return numbers


def _is_explained(broken: Broken, known: set[str]) -> bool:
    told = [each for each in explain(broken.text) if each.severity == "error" and str(each) not in known]
    if not broken.path:
        return any("line" in each.path or each.what.startswith("a name stands twice") for each in told)
    return any(each.path.startswith(broken.path) and each.expected for each in told)


def _tokens(content: bytes | str) -> Any:
    """The document with numbers as their tokens and objects as lists of pairs."""

    def number(token: str) -> tuple[str, str]:
        return "number", token

    return json.loads(content, parse_float=number, parse_int=number, object_pairs_hook=lambda pairs: ("object", pairs))
