"""What a sentence says of its concepts: denied, in doubt, in the past, only feared, or of somebody else.

ConText (Harkema et al. 2009, J Biomed Inform 42, 839), the successor of NegEx (Chapman et al. 2001): triggers that
speak forward or backward, phrases that only look like one, and words that end a scope. The triggers are data,
`assertion.toml`; English and Chinese are read by the same rules, a word or a Chinese character at a time.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from itertools import product
from typing import NamedTuple

from healthcare.medical_records.sections import in_section, section_at, sections
from healthcare.medical_records.sentences import sentences
from healthcare.medical_records.spans import Assertion, Span, lowered

SAYINGS = ("negated", "uncertain", "historical", "hypothetical", "family", "other")
_UNIT = re.compile(r"[a-z]+?(?=n['’]t\b)|n['’]t\b|['’]s\b|[a-z]+|\d+|[^\s\w]|\w")
_CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")
_ITEM = re.compile(r"[-*•·●▪◦]|\d{1,2}[.)、]")
_YEAR = re.compile(r"(?:19|20)\d\d")
_CONCEPT, _END, _CLOSERS, _COMMAS = "\0", "$", ".,;$，。；", ",，"


class _Found(NamedTuple):
    """A trigger, a stop or a pseudo-trigger on the units `first` to `last` (exclusive)."""

    says: str
    way: str
    first: int
    last: int
    crosses: bool = False


class _Borders:
    """Where scopes end in one sentence: places of units, in order."""

    def __init__(self, found: Sequence[_Found], words: Sequence[str]) -> None:
        stops = [one for one in found if one.says == "stop"]
        self._size, self._words = len(words), words
        self._starts, self._ends = [one.first for one in stops], [one.last for one in stops]
        self._past_commas = [first for first in self._starts if words[first] not in _COMMAS]
        self._colons = [i for i, word in enumerate(words) if word in ":：" and i and not words[i - 1].isdigit()]
        self._commas = [i for i, word in enumerate(words) if word == ","]
        self._items = [i + 1 for i, word in enumerate(words) if word in ",，/"]

    def reach(self, one: _Found) -> tuple[int, int]:
        """First and last unit (exclusive) that a trigger speaks of."""
        if one.way == "forward":
            end = min(
                _next(self._past_commas if one.crosses else self._starts, one.last, self._size),
                _next(self._colons, one.last + 1, self._size),
            )
            if not one.crosses and not self._words[one.first].isascii():  # Chinese typed with an English comma
                end = min(end, _next(self._commas, one.last + 1, self._size))
            return one.last, end
        start = _last(self._ends, one.first)
        return max(start, _last(self._items, one.first)) if one.way == "beside" else start, one.first


def _next(places: Sequence[int], at: int, otherwise: int) -> int:
    """The first of the places from `at` on."""
    i = bisect_left(places, at)
    return places[i] if i < len(places) else otherwise


def _last(places: Sequence[int], at: int) -> int:
    """The last of the places up to `at`, or 0."""
    i = bisect_right(places, at)
    return places[i - 1] if i else 0


class Context:
    """The triggers, ready to be applied: `rules` is the parsed TOML."""

    def __init__(self, rules: dict[str, dict[str, list[str]]]) -> None:
        entries = [(phrase, says, way) for says in SAYINGS for way in rules[says] for phrase in rules[says][way]]
        entries += [(phrase, kind, "") for kind in ("pseudo", "stop") for phrase in rules["words"][kind]]
        across = {tuple(_words(phrase)) for phrase in rules["words"]["across_commas"]}
        self._means: dict[tuple[str, ...], list[tuple[str, str, bool]]] = {}
        for phrase, says, way in entries:
            for words in _expanded(phrase):
                self._means.setdefault(words, []).append((says, way, words in across))
        self._phrases: dict[str, list[tuple[str, ...]]] = {}
        for words in sorted(self._means, key=len, reverse=True):
            self._phrases.setdefault(words[0], []).append(words)

    def assertions(self, sentence: str, concepts: Sequence[tuple[int, int]], inside: bool = True) -> list[Assertion]:
        """What the sentence says of each concept, given as (start, end) in characters of the sentence.

        The words of a concept are no triggers ("change in vision" after "no" is not "no change"), except one that it
        begins with ("no rash") when `inside`; a term of a dictionary means itself ("not in labor force").
        """
        units = [(_word(m.group()), m.start(), m.end()) for m in _UNIT.finditer(lowered(sentence))]
        words = [word for word, _, _ in units]
        lefts, rights = [left for _, left, _ in units], [right for _, _, right in units]
        places_of = [range(bisect_right(rights, start), bisect_left(lefts, end)) for start, end in concepts]
        masked = list(words)
        for places in places_of:
            masked[places.start : places.stop] = [_CONCEPT] * len(places)
        found = self._scan([*masked, _END])
        borders = _Borders(found, masked)
        reaches = [(one.says, *borders.reach(one)) for one in found if one.says in SAYINGS]
        answers = []
        for places in places_of:
            said = {says for says, first, last in reaches if places and first <= places[0] and places[-1] < last}
            own = self._at([*(words[i] for i in places), _END], 0) if inside else []
            said |= {"negated" for one in own if (one.says, one.way) == ("negated", "forward")}
            answers.append(_assertion(said))
        return answers

    def _scan(self, words: list[str]) -> list[_Found]:
        found, i = list[_Found](), 0
        begun, concept = 0, -1  # where the latest stop ended, and where the latest concept is
        while i < len(words):
            concept = i if words[i] == _CONCEPT else concept
            here = self._at(words, i)
            found += here
            last = here[0].last if here else i + 1
            free = words[i] in _COMMAS or concept < begun  # ", possible x", "there is possible x"
            # Parts of a Chinese word are no words.
            if here and free and here[0].says != "pseudo" and words[i].isascii():
                found += [one for j in range(i + 1, last) for one in self._at(words, j) if one.way == "forward"]
            begun = last if here and here[0].says == "stop" else begun
            i = last - 1 if last - i > 1 and words[last - 1] in _CLOSERS else last
        return found

    def _at(self, words: list[str], i: int) -> list[_Found]:
        """The longest phrase that begins here, once for each thing it says."""
        for phrase in self._phrases.get(words[i], ()):
            if tuple(words[i : i + len(phrase)]) == phrase:
                return [_Found(says, way, i, i + len(phrase), crosses) for says, way, crosses in self._means[phrase]]
        return []


@cache
def own_context() -> Context:
    """The context of our own triggers."""
    return Context(tomllib.loads(files(__package__).joinpath("assertion.toml").read_text(encoding="utf-8")))


def assertions_of(note: str, spans: Sequence[tuple[int, int]], inside: bool = True) -> list[Assertion]:
    """What a note says of the concepts at these places (start, end), in their order: sentence and section together.

    An item of a list is read together with the line that announces the list ("Denies:"). A concept that runs over the
    end of a sentence is read in the sentence that it starts in. `inside` as in `Context.assertions`.
    """
    where, parts = sentences(note), sections(note)
    starts, leads = [sentence.start for sentence in where], _leads(where)
    of_sentence: dict[int, list[int]] = {}
    for i, (start, _) in enumerate(spans):
        of_sentence.setdefault(max(0, bisect_right(starts, start) - 1), []).append(i)
    answers = [Assertion()] * len(spans)
    for which, concepts in of_sentence.items():
        sentence, lead = where[which], leads[which]
        moved = len(lead) - sentence.start
        places = [(spans[i][0] + moved, min(spans[i][1], sentence.end) + moved) for i in concepts]
        for i, said in zip(concepts, own_context().assertions(lead + sentence.text, places, inside), strict=True):
            answers[i] = in_section(section_at(parts, spans[i][0]).kind, said)
    return answers


def _leads(where: Sequence[Span]) -> list[str]:
    """Before each sentence that is an item of a list: the words that announce the list, without their colon."""
    leads, lead = [], ""
    for sentence in where:
        item = _ITEM.match(sentence.text)
        lead = lead if item else ""
        leads.append(lead)
        if not item and sentence.text[-1] in ":：" and len(sentence.text) < 120:
            lead = sentence.text[:-1] + " "
    return leads


def _assertion(said: set[str]) -> Assertion:
    return Assertion(
        negated="negated" in said,
        uncertain="uncertain" in said and "negated" not in said,
        temporality="hypothetical" if "hypothetical" in said else "historical" if "historical" in said else "recent",
        experiencer="family" if "family" in said else "other" if "other" in said else "patient",
    )


def _expanded(phrase: str) -> set[tuple[str, ...]]:
    """Every phrase that one with choices stands for."""
    pieces = _CHOICE.split(phrase)
    choices = [piece.split("|") if i % 2 else [piece] for i, piece in enumerate(pieces)]
    return {tuple(words) for parts in product(*choices) if (words := _words("".join(parts)))}


def _words(phrase: str) -> list[str]:
    return [
        word
        for piece in phrase.split()
        for word in ([piece] if piece == "<year>" else map(_word, _UNIT.findall(piece)))
    ]


def _word(unit: str) -> str:
    if unit in ("n't", "n’t"):
        return "not"
    return "<year>" if _YEAR.fullmatch(unit) else unit.replace("’", "'")
