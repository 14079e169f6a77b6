"""A dictionary of medical terms with their codes, matched longest first, English and Chinese.

Text is cut into words, numbers, Chinese characters and marks, all in lower case; a term is a run of these. A plural
that no term has is tried without its "s". Short forms of up to four letters count in capitals only ("AS" is not "as").
The codes that one table gives a term are all kept, in its order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

from common.errors import BundleCorrupted
from healthcare.medical_records.spans import Code, Entity, Kind, lowered

_UNIT = re.compile(r"[a-z]+|\d+(?:\.\d+)?|[^\s\w]|\w")
_JOIN = "\x1f"
LONGEST = 24
"""Units of a term; a longer one is left out."""


@dataclass(frozen=True)
class Term:
    """A term of one kind with its codes; `source` names the table it comes from."""

    text: str
    kind: Kind
    codes: tuple[Code, ...] = ()
    source: str = ""


class Dictionary:
    """Terms, ready to be found. Of two that read the same the first gives the kind; codes of later ones are added."""

    def __init__(self, terms: Iterable[Term]) -> None:
        self._terms: dict[str, Term] = {}
        self._most: dict[str, int] = {}
        self._exact: set[str] = set()
        for term in terms:
            units = _UNIT.findall(term.text.lower())
            if not units or len(units) > LONGEST or term.text.isdigit() or (len(term.text) < 2 and term.text.isascii()):
                continue
            key = _JOIN.join(units)
            if (first := self._terms.get(key)) is not None:
                systems = {code.system for code in first.codes}
                term = Term(
                    first.text,
                    first.kind,
                    (*first.codes, *(c for c in term.codes if c.system not in systems)),
                    first.source,
                )
            elif term.text.isascii() and len(term.text) <= 4 and term.text.isupper():
                self._exact.add(key)
            self._terms[key] = term
            self._most[units[0]] = max(self._most.get(units[0], 0), len(units))

    def __len__(self) -> int:
        return len(self._terms)

    def find(self, note: str) -> list[Entity]:
        """Every term of the note in order, none within another; assertions are not looked at."""
        units = [(match.group(), match.start(), match.end()) for match in _UNIT.finditer(lowered(note))]
        words = [word for word, _, _ in units]
        found, i = [], 0
        while i < len(units):
            most = self._most.get(words[i], self._most.get(words[i][:-1], 0) if words[i].endswith("s") else 0)
            for size in range(min(most, len(units) - i), 0, -1):
                start, end = units[i][1], units[i + size - 1][2]
                term = self._at(words[i : i + size], note[start:end])
                if term:
                    found.append(Entity(term.kind, start, end, note[start:end], None, term.codes))
                    i += size - 1
                    break
            i += 1
        return found

    def _at(self, words: Sequence[str], text: str) -> Term | None:
        key = _JOIN.join(words)
        term = self._terms.get(key)
        if term is None and len(words[-1]) > 3 and words[-1].endswith("s"):
            key = key[:-1]
            term = self._terms.get(key)
        return None if term is None or (key in self._exact and not text.rstrip("s").isupper()) else term

    def state(self) -> str:
        """Everything as JSON: terms by table of codes."""
        codes: dict[Code, int] = {}
        rows = [
            [term.text, term.kind, term.source, [codes.setdefault(code, len(codes)) for code in term.codes]]
            for term in self._terms.values()
        ]
        table = [[code.system, code.code, code.display] for code in codes]
        return json.dumps({"codes": table, "terms": rows}, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_state(cls, state: str) -> Dictionary:
        """The dictionary that `state` wrote. Raises `BundleCorrupted` when it is not one."""
        try:
            read = json.loads(state)
            codes = [Code(*map(str, row)) for row in read["codes"]]
            terms = [
                Term(text, kind, tuple(codes[i] for i in own), source) for text, kind, source, own in read["terms"]
            ]
            if bad := {term.kind for term in terms} - set(get_args(Kind)):
                raise ValueError(f"kind {sorted(bad)[0]!r}")
        except (ValueError, KeyError, TypeError, IndexError) as error:
            fix = "train again"
            raise BundleCorrupted(f"not a dictionary of terms ({error})", where="dictionary", fix=fix) from None
        return cls(terms)
