"""De-identification of notes: find what identifies, put its kind or a surrogate there, and keep track of places."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from pydantic import Field

from common.config import Strict
from common.errors import RequestTooLarge, UsageError
from common.text.identifiers import fold
from healthcare.medical_records.deid import cues, patterns
from healthcare.medical_records.deid.identifiers import HIPAA, Identifier, Kind, resolve
from healthcare.medical_records.deid.shift import OLDEST, years
from healthcare.medical_records.deid.surrogates import Surrogates
from healthcare.medical_records.deid.tagger import Tagger

LONGEST = 5_000_000
"""Characters of a note that are read."""
LEAST_KEY = 16
YEAR = re.compile(r"(?:19|20)\d\d年?", re.ASCII)
ALWAYS: tuple[Kind, ...] = (*HIPAA, "organization")


class Policy(Strict):
    """What is replaced, and by what."""

    mode: Literal["mask", "surrogate"] = Field("mask", description="[NAME], or a name that nobody has")
    kinds: tuple[Kind, ...] = Field(ALWAYS, description="the 18 of HIPAA and employers; title and group stay")
    ages: bool = Field(False, description="replace all ages, not only those above 89")
    years: bool = Field(False, description="mask years that stand alone too, which HIPAA lets stay up to 89 years back")


@dataclass(frozen=True)
class Replaced:
    """An identifier of the note, and where in the new text its stand-in is."""

    kind: Kind
    start: int
    end: int
    new_start: int
    new_end: int


@dataclass(frozen=True)
class Deidentified:
    """The new text; `replaced` in order. It holds nothing of what was replaced and may be logged."""

    text: str
    replaced: tuple[Replaced, ...]

    def place(self, at: int) -> int:
        """Where a character of the note is in the new text; the start of the stand-in for one that was replaced."""
        moved = 0
        for one in self.replaced:
            if at < one.start:
                break
            if at < one.end:
                return one.new_start
            moved = one.new_end - one.end
        return at + moved


class Deidentifier:
    """Finds and replaces; without a tagger by rules alone, which miss most of what nothing announces.

    `key` is the secret of surrogates and of the shift of dates, at least 16 bytes, needed for surrogates only.
    Raises `UsageError` for a shorter one. Safe for threads.
    """

    def __init__(self, tagger: Tagger | None = None, *, policy: Policy | None = None, key: bytes = b"") -> None:
        self.tagger, self.policy, self._key = tagger, policy or Policy(), key
        if self.policy.mode == "surrogate" and len(key) < LEAST_KEY:
            fix = "make one with `openssl rand -hex 24`"
            raise UsageError(
                "too short a key for surrogates", got=f"{len(key)} bytes", expected=f"{LEAST_KEY} or more", fix=fix
            )

    def find(self, note: str, known: Sequence[tuple[Kind, str]] = ()) -> list[Identifier]:
        """All that identifies, whatever the policy, disjoint and in order.

        `known` is what is known of the patient, such as ("name", "Mary Smith"): found wherever it stands. Raises
        `RequestTooLarge` for more than 5,000,000 characters.
        """
        if len(note) > LONGEST:
            raise RequestTooLarge("too long a note", got=f"{len(note)} characters", expected=f"{LONGEST} at most")
        folded = fold(note)
        sure = [*cues.known(folded, known), *patterns.find(folded)]
        hits = [(it.kind, it.start, it.end) for it in resolve(note, sure)]
        tagged = self.tagger.tag(folded, hits) if self.tagger else []
        spans = [*tagged, *hits, *cues.find(folded), *patterns.runs(folded)]
        first = resolve(note, spans)
        return resolve(note, [*((it.kind, it.start, it.end) for it in first), *cues.again(folded, first)])

    def __call__(self, note: str, patient: str = "", known: Sequence[tuple[Kind, str]] = ()) -> Deidentified:
        """The note without what identifies. `patient` is any key of the patient: the same one, the same surrogates.

        Raises `UsageError` for surrogates without a patient, and `RequestTooLarge`.
        """
        if self.policy.mode == "surrogate" and not patient:
            raise UsageError("surrogates need a patient", expected="the same key for all notes of one patient")
        found = [it for it in self.find(note, known) if self._goes(it)]
        surrogates = Surrogates(self._key, patient) if self.policy.mode == "surrogate" else None
        written = years(it.text for it in found if it.kind == "date")
        newest, year = max(written, default=None), written[0] if written else 2001
        parts, replaced, at, length = [], [], 0, 0
        for it in found:
            new = surrogates.of(it, year=year, newest=newest) if surrogates else None
            new = f"[{it.kind.upper()}]" if new is None else new
            parts += [note[at : it.start], new]
            length += it.start - at
            replaced.append(Replaced(it.kind, it.start, it.end, length, length + len(new)))
            at, length = it.end, length + len(new)
        return Deidentified("".join([*parts, note[at:]]), tuple(replaced))

    def _goes(self, it: Identifier) -> bool:
        """Whether the policy replaces this one: ages up to 89 may stay, and years of as many."""
        if it.kind == "date" and self.policy.mode == "mask" and not self.policy.years and YEAR.fullmatch(it.text):
            return date.today().year - int(it.text[:4]) > OLDEST
        if it.kind == "age" and not self.policy.ages:
            return "age" in self.policy.kinds and it.text.isdecimal() and int(it.text) > OLDEST
        return it.kind in self.policy.kinds
