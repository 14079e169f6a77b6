"""Passages of the bank's own documents that answer a question, with where they stand; or none.

Documents are Markdown files `<name>.<en|zh>.md`; each section under `##` is a passage, cited as `[name#n]`. A comment
`<!-- asked: ... -->` under its title may hold other words that people use for it: these are searched, never shown; and
`<!-- intents: ... -->` names the intents that it answers.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np

from common.errors import DataError
from common.text.identifiers import fold
from finance.customer_service.understood import Language

FOUND = 0.25
"""Least score of a passage that answers: of the phrases of the simulator six in ten find one, four in five of them the
right one, and one in fifteen of those about something else than a bank."""
K1, B, TITLE = 1.2, 0.4, 2
DENSE = 0.5
"""Share of the cosine in the score, where vectors are given."""
MOST = 400
"""Characters of a question that are looked at."""

SECTION = re.compile(
    r"^## +(?P<title>.+?)\s*\n(?:<!-- asked: (?P<asked>.*?) -->\n)?"
    r"(?:<!-- intents: (?P<intents>.*?) -->\n)?(?P<text>(?:(?!^#{1,2} ).*(?:\n|\Z))*)",
    re.MULTILINE,
)
STOP = frozenset(
    re.findall(
        r"\w+",
        "a about am an and any are as at be been but by can could did do does for from get got had has have "
        "hello hi how i if in is it its know like long many me much my need of on or our please should so "
        "some tell thank thanks that the their them there they this to us want was we what when where which "
        "while who why will with would you your ",
    )
)
STOP_HAN = re.compile(
    r"怎么办|怎么样|怎么|什么时候|什么|为什么|如何|请问|多少|多久|哪里|哪儿|可以|能不能|可不可以|需要|我想|我要|你们|您们|我们|帮我|一下"
    r"|[我你您他她它的了吗呢吧啊呀是在有要想能会请把被给这那个和与也都就还很哪么不]"
)
HAN = re.compile(r"[\u4e00-\u9fff]+")


@dataclass(frozen=True)
class Passage:
    """One section of a document: `id` is what a citation names, `text` is at `start:end` of the document.

    `score` is between 0 and 1: the share of what the question asks that the passage is about.
    """

    id: str
    language: Language
    title: str
    text: str
    start: int
    end: int
    score: float = 0.0
    asked: str = ""
    intents: tuple[str, ...] = ()


def load_passages(folder: Path | None = None) -> list[Passage]:
    """All passages of a folder of documents, those of this package by default.

    Raises `DataError` when the folder has no documents or one has no sections.
    """
    place: Traversable = folder or files(__package__).joinpath("documents")
    found: list[Passage] = []
    for file in sorted(place.iterdir(), key=lambda one: one.name) if place.is_dir() else []:
        name, _, ending = file.name.partition(".")
        for language in ("en", "zh"):
            if ending == f"{language}.md":
                found += _sections(name, language, file.read_text(encoding="utf-8"))
    if not found:
        raise DataError("no documents", where=str(place), expected="files <name>.en.md or <name>.zh.md")
    return found


def _sections(name: str, language: Language, document: str) -> list[Passage]:
    passages = []
    for number, section in enumerate(SECTION.finditer(document), start=1):
        text = section["text"].strip()
        start = section.start("text") + section["text"].index(text)
        passages.append(
            Passage(
                f"{name}#{number}",
                language,
                section["title"],
                text,
                start,
                start + len(text),
                asked=section["asked"] or "",
                intents=tuple((section["intents"] or "").split()),
            )
        )
    if not passages or not all(passage.text for passage in passages):
        raise DataError(
            "a document without sections, or an empty one", where=f"{name}.{language}.md", expected="## title, text"
        )
    return passages


def terms(text: str) -> list[str]:
    """What is compared: English words without the very common ones, cut to six letters, plurals too (near to a
    stemmer: McNamee & Mayfield 2004); Chinese characters and pairs of them."""
    text = fold(text).lower()
    found = []
    for word in re.findall(r"[a-z0-9]+", text):
        if word not in STOP and not word.isdigit():
            found.append((word[:-1] if len(word) > 3 and word.endswith("s") else word)[:6])
    for run in HAN.findall(STOP_HAN.sub(" ", text)):
        found += [*run, *(run[i : i + 2] for i in range(len(run) - 1))]
    return found


class Retriever:
    """Searches passages by BM25 (Robertson & Zaragoza 2009), and by vectors where `embed` gives some.

    `embed(texts)` returns vectors of length 1, float32 (texts, width).
    """

    def __init__(
        self,
        passages: Sequence[Passage],
        *,
        embed: Callable[[Sequence[str]], np.ndarray] | None = None,
        found: float = FOUND,
    ) -> None:
        self.passages, self.found, self._embed = list(passages), found, embed
        self._counts = [Counter(terms(f"{one.title} " * TITLE + f"{one.asked} {one.text}")) for one in self.passages]
        self._lengths = [sum(counts.values()) for counts in self._counts]
        having: dict[str, Counter[str]] = defaultdict(Counter)
        self._of = {
            language: [i for i, one in enumerate(self.passages) if one.language == language]
            for language in ("en", "zh")
        }
        for passage, counts in zip(self.passages, self._counts, strict=True):
            having[passage.language].update(counts.keys())
        self._weight = {
            language: {term: math.log(1 + (len(self._of[language]) - n + 0.5) / (n + 0.5)) for term, n in seen.items()}
            for language, seen in having.items()
        }
        self._vectors = embed([f"{one.title}. {one.text}" for one in self.passages]) if embed else None

    def search(self, query: str, k: int = 3, language: Language = "en", intents: Sequence[str] = ()) -> list[Passage]:
        """At most `k` passages in the language, the best first, each with a score of at least `found`; else none.

        Those that answer one of `intents` come first: their score is moved half the way to 1.
        """
        query = query[:MOST]
        wanted, rows = Counter(terms(query)), self._of[language]
        if not rows or not (wanted or intents):
            return []
        weight = self._weight[language]
        unknown = max(weight.values())
        whole = sum(weight.get(term, unknown) for term in wanted) * (K1 + 1) or 1.0
        mean = sum(self._lengths[i] for i in rows) / len(rows)
        scores = {i: self._bm25(i, wanted, weight, mean) / whole for i in rows}
        if self._embed and self._vectors is not None:
            near = self._vectors @ self._embed([query])[0]
            scores = {i: (1 - DENSE) * score + DENSE * max(0.0, float(near[i])) for i, score in scores.items()}
        asked = set(intents)
        scores = {i: (1 + s) / 2 if asked & set(self.passages[i].intents) else s for i, s in scores.items()}
        best = sorted(scores, key=lambda i: (-scores[i], i))[:k]
        return [replace(self.passages[i], score=round(scores[i], 4)) for i in best if scores[i] >= self.found]

    def _bm25(self, i: int, wanted: Counter[str], weight: dict[str, float], mean: float) -> float:
        counts, size = self._counts[i], K1 * (1 - B + B * self._lengths[i] / mean)
        return sum(weight[term] * counts[term] * (K1 + 1) / (counts[term] + size) for term in wanted if counts[term])
