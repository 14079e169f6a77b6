"""What stands in for an identifier: the same for the same patient wherever it comes again, and nobody's.

Everything follows from HMAC-SHA256 of the patient and the text under a secret, so that nothing is stored and notes
can be worked on apart and in any order. Numbers are from ranges that are never given out: social security numbers
that begin with 000 (SSA), telephone numbers with the exchange 555, mobile numbers that begin with 10, addresses of
RFC 5737 and 3849, the area 999999 of resident numbers, example.org (RFC 2606). Two names of one patient may, seldom,
get one surrogate.
"""

from __future__ import annotations

import hmac
import random
import re
import string
from collections.abc import Mapping, Sequence
from functools import cache, cached_property

from healthcare.medical_records.deid import values
from healthcare.medical_records.deid.identifiers import Identifier, Kind
from healthcare.medical_records.deid.shift import capped, days_of, shifted
from healthcare.medical_records.deid.simulator import pools_of, slots, tables

PART = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+")
HAN = re.compile(r"[\u3400-\u9fff]")
CHECKS = "10X98765432"


class Surrogates:
    """Surrogates of one patient."""

    def __init__(self, key: bytes, patient: str) -> None:
        self._key, self._patient = key, patient
        self._orders: dict[str, tuple[list[str], dict[str, int]]] = {}

    @cached_property
    def days(self) -> int:
        """How many days this patient's dates move."""
        return days_of(self._key, self._patient)

    def of(self, it: Identifier, *, year: int = 2001, newest: int | None = None) -> str | None:
        """The surrogate of an identifier, or None when there is none and its kind must stand there.

        `year` is that of days without a year, `newest` the latest year of the note: see `shift.shifted`.
        """
        text = it.text
        if it.kind == "date":
            return shifted(text, self.days, year=year, newest=newest)
        if it.kind == "age":
            return capped(text) if text.isdecimal() else None
        chinese = HAN.search(text) is not None
        if it.kind == "name":
            return self._name_zh(text) if chinese else PART.sub(lambda found: self._name(found[0]), text)
        if it.kind == "location":
            return self._place_zh(text) if chinese else self._place(text)
        if it.kind == "organization":
            return self._employer(text, "zh" if chinese else "en")
        if it.kind in ("email", "url", "ip", "photo"):
            return self._address(it.kind, text)
        return self._number(it.kind, text)

    def _rng(self, what: str, text: str) -> random.Random:
        message = f"{what}\0{self._patient}\0{text.casefold()}".encode()
        return random.Random(hmac.digest(self._key, message, "sha256"))

    def _other(self, what: str, word: str, words: Sequence[str]) -> str:
        """Another one of the words, by a keyed order: two words of the list never get the same."""
        if what not in self._orders:
            order = sorted(words)
            self._rng("order", what).shuffle(order)
            self._orders[what] = order, {each.casefold(): at for at, each in enumerate(order)}
        order, places = self._orders[what]
        place = places.get(word.casefold())
        return self._rng(what, word).choice(order) if place is None else order[(place + 1) % len(order)]

    def _name(self, word: str) -> str:
        """A word of a name: given names stay of their gender, an initial stays one."""
        if len(word) == 1:
            return self._rng("initial", word).choice(string.ascii_uppercase)
        lists = _lists("en")
        if word.casefold() in lists["plain"]:
            return word
        what = next((name for name in ("female", "male") if word.casefold() in lists[name]), "last")
        return _cased(self._other(what, word, [w for w in pools_of("train", "en")[what] if w.isalpha()]), word)

    def _name_zh(self, text: str) -> str:
        """The surname by a surname, every other character by one of names of that gender."""
        pools, made = pools_of("train", "zh"), ""
        known = next((last for last in pools["last_two"] if text.startswith(last)), text[:1])
        made = self._other(
            "last_two" if len(known) == 2 else "last", known, pools["last_two" if len(known) == 2 else "last"]
        )
        for character in text[len(known) :]:
            if not HAN.match(character):
                made += character
                continue
            gender = "female" if character in pools["female"] and character not in pools["male"] else "male"
            made += self._other(f"given {gender}", character, list(dict.fromkeys(pools[gender])))
        return made

    def _place(self, text: str) -> str:
        """Words by words, digits by digits; countries, states and what a street is stay."""
        pools, lists = pools_of("train", "en"), _lists("en")
        if text.casefold() in lists["countries"] | lists["state_names"]:
            return text
        if not any(c.isdigit() for c in text) and text.casefold() in lists["cities"]:
            return _cased(self._other("city", text, [w for w in pools["cities"] if w.isalpha()]), text)

        def part(found: re.Match[str]) -> str:
            word = found[0]
            if word.isdigit():
                return self._digits("place", word)
            if word.casefold() in lists["plain"] | lists["street_kinds"] | lists["states"]:
                return word
            if word.casefold() in lists["cities"]:
                return _cased(self._other("city", word, [w for w in pools["cities"] if w.isalpha()]), word)
            return _cased(self._other("street", word, [w for w in pools["streets"] if w.isalpha()]), word)

        return PART.sub(part, text)

    def _place_zh(self, text: str) -> str:
        pools, rng = pools_of("train", "zh"), self._rng("place", text)
        bare = re.sub("[省市]$", "", text)
        if bare in pools["provinces"]:
            return text
        if len(text) <= 4 and not any(c.isdigit() for c in text):
            return self._other("town", bare, pools["towns"]) + text[len(bare) :]
        return values.address_zh(pools, rng) if any(c.isdigit() for c in text) else rng.choice(pools["places"])

    def _employer(self, text: str, language: str) -> str:
        cares = re.search(r"hospital|clinic|medical|nursing|health|医院|诊所|卫生", text, re.IGNORECASE)
        return slots(language)["hospital" if cares else "org"][1](pools_of("train", language), self._rng("org", text))

    def _address(self, kind: Kind, text: str) -> str:
        number = self._rng(kind, text).randrange(1, 10**6)
        if kind == "email":
            return f"user{number}@example.org"
        if kind == "url":
            return f"https://example.org/{number}"
        if kind == "ip":
            return f"2001:db8::{number % 65536:x}" if ":" in text else f"192.0.2.{number % 254 + 1}"
        return f"picture{number}.{text.rsplit('.', 1)[-1]}" if "." in text else f"picture{number}"

    def _number(self, kind: Kind, text: str) -> str:
        """Digits by digits and letters by letters, from a range that nobody is given."""
        compact = "".join(c for c in text if c.isalnum())
        made = self._digits(kind, compact)
        if kind == "national_id" and len(compact) == 18:
            made = "999999" + made[6:17]
            made += CHECKS[sum(int(c) * pow(2, 17 - i, 11) for i, c in enumerate(made)) % 11]
        elif kind == "national_id":
            made = "000" + made[3:]
        elif kind in ("phone", "fax") and len(compact) == 11 and compact[0] == "1" and compact[1] in "3456789":
            made = "10" + made[2:]
        elif kind in ("phone", "fax") and len(compact) >= 10:
            made = f"{made[:-7]}555{made[-4:]}"
        letters = iter(made)
        return "".join(next(letters) if c.isalnum() else c for c in text)

    def _digits(self, what: str, text: str) -> str:
        rng = self._rng(what, text)

        def other(c: str) -> str:
            if c.isdigit():
                return rng.choice(string.digits)
            return rng.choice(string.ascii_uppercase if c.isupper() else string.ascii_lowercase) if c.isascii() else c

        made = "".join(other(c) for c in text)
        return made if made != text or not any(c.isalnum() for c in text) else self._digits(what + "'", text)


def _cased(made: str, like: str) -> str:
    if like.isupper() and len(like) > 1:
        return made.upper()
    return made.lower() if like.islower() else made


@cache
def _lists(language: str) -> Mapping[str, frozenset[str]]:
    """All names of the tables in lower case, also those that the simulator holds out."""
    return {
        key: frozenset(word.replace("_", " ").casefold().rstrip(".") for word in entry.split(" "))
        for key, entry in tables()[0][language].items()
    }
