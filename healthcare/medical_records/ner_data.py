"""Published texts with marked entities: the NCBI disease corpus, cEHRNER and cMedQANER."""

from __future__ import annotations

import json
from dataclasses import dataclass

from common.errors import SchemaError
from common.text.tags import Mark


@dataclass(frozen=True)
class Marked:
    """Texts with the marks of each, in the corpus' own labels; `ids` are the documents' names."""

    ids: list[str]
    texts: list[str]
    marks: list[list[Mark]]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, in the order of the alphabet."""
        return tuple(sorted({mark.label for own in self.marks for mark in own}))

    def part(self, start: int, stop: int) -> Marked:
        """The texts of these places."""
        return Marked(self.ids[start:stop], self.texts[start:stop], self.marks[start:stop])


def read_pubtator(content: str, label: str = "disease") -> Marked:
    """Documents of the PubTator format, title and abstract as one text, every mention as `label`.

    A document that repeats an id is left out (PMID 8528200 is there twice). Raises `SchemaError` for a mention that
    lies outside of its text.
    """
    found = Marked([], [], [])
    for block in content.strip().split("\n\n"):
        lines = block.strip().split("\n")
        name, _, title = lines[0].split("|", 2)
        text = f"{title} {lines[1].split('|', 2)[2]}"
        if name in found.ids:
            continue
        own = []
        for line in lines[2:]:
            start, end = map(int, line.split("\t")[1:3])
            if not 0 <= start < end <= len(text):
                raise SchemaError("a mention outside of its text", where=f"PMID {name}", got=f"{start} to {end}")
            own.append(Mark(start, end, label))
        found.ids.append(name)
        found.texts.append(text)
        found.marks.append(own)
    return found


def read_chinese(content: str) -> Marked:
    """Lines of ChineseBLUE's JSON. A mention that is not at its offset is looked for near it, or left out.

    Raises `SchemaError` for a line that is no such record.
    """
    found = Marked([], [], [])
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            text = row["text"]
            mentions = [
                (m["mention"], m["label"] if "label" in m else m["type"], int(m["offset"])) for m in row["mention_data"]
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise SchemaError("not a record with text and mention_data", where=f"line {number}", got=error) from error
        places = [_place(text, phrase, at) for phrase, _, at in mentions]
        own = [
            Mark(at, at + len(phrase), label)
            for (phrase, label, _), at in zip(mentions, places, strict=True)
            if at is not None and phrase
        ]
        found.ids.append(str(number))
        found.texts.append(text)
        found.marks.append(sorted(set(own)))
    return found


def _place(text: str, phrase: str, at: int) -> int | None:
    """Where the phrase is: at its offset, or the nearest place within 20 characters."""
    near = [start for start in range(max(0, at - 20), at + 21) if text.startswith(phrase, start)]
    return min(near, key=lambda start: abs(start - at), default=None)
