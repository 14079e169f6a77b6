"""Dialogue acts in Chinese: what each message of CrossWOZ informs, asks for or offers.

Values are found by a tagger of characters and get their intent and domain from linear heads; acts without a value come
from heads on the whole message. The acts found in a message are context for the next.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from finance.customer_service.acts_data import Act, Turn
from finance.customer_service.acts_features import (
    FACILITY,
    NO_VALUE,
    Lexicon,
    Span,
    characters,
    context,
    domain_row,
    said_before,
    span_row,
    text_row,
)
from finance.customer_service.acts_model import Heads, Tagger, fit_heads, fit_tagger

EPOCHS = 5
SURE = -0.7
"""Log-odds above which an act without a value is said."""
PENALTY = 3e-5
"""Of the heads. These settings are the best of a few, each tried on a fifth of the validation dialogues held out."""
NONE = "-"
SAME: dict[int, str | None] = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
SAME |= dict.fromkeys(map(ord, "到至~—–"), "-") | dict.fromkeys(map(ord, " 分元、，,。"))


@dataclass(frozen=True)
class ActModel:
    """Reads dialogues; `spellings` gives the value as the data write it for a slot and its squeezed text."""

    lexicon: Lexicon
    tagger: Tagger
    roles: Heads
    acts: Heads
    domains: Heads
    spellings: dict[tuple[str, str], str]

    def read(self, dialogue: Sequence[Turn]) -> list[set[Act]]:
        """The acts of each message; the acts in `dialogue` are not looked at, those found before are the context."""
        history: list[Turn] = []
        for turn in dialogue:
            history.append(replace(turn, acts=tuple(sorted(self._read(turn, history)))))
        return [set(turn.acts) for turn in history]

    def _read(self, turn: Turn, history: Sequence[Turn]) -> set[Act]:
        around, before = context(history), said_before(history, turn.text)
        known = self.lexicon.find(turn.text)
        spans = [closed(turn.text, span) for span in self.tagger.spans(characters(turn, known, before, around))]
        acts: set[Act] = set()
        phones: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        for span in [*spans, *_facilities(known)]:
            role = self.roles.names[int(self.roles.scores(span_row(turn, span, before, around)).argmax())]
            if role == NONE:
                continue
            intent, domain, fixed = role.split("|")
            words, slot = turn.text[span[0] : span[1]], span[2]
            if slot == "电话":
                phones[intent, domain, slot].append(words)
            else:
                value = fixed if slot.startswith(FACILITY) else self.spellings.get((slot, squeezed(words)), words)
                acts.add((intent, domain, slot, value))
        acts |= {(*key, " ".join(numbers)) for key, numbers in phones.items()}
        scores = self.acts.scores(text_row(turn, spans, around))
        for k in np.flatnonzero(scores > SURE):
            intent, domain, slot, value = self.acts.names[k].split("|")
            if not domain:
                row = domain_row(turn, self.acts.names[k], around)
                domain = self.domains.names[int(self.domains.scores(row).argmax())]
            acts.add((intent, domain, slot, value))
        return acts


def fit_acts(dialogues: Sequence[Sequence[Turn]], seed: int, epochs: int = EPOCHS) -> ActModel:
    """Learn from dialogues with their acts."""
    lexicon = Lexicon(dialogues)
    texts, tags = [], []
    span_rows, span_roles, text_rows, text_acts, domain_rows, domain_names = [], [], [], [], [], []
    spellings: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for number, dialogue in enumerate(dialogues):
        for k, turn in enumerate(dialogue):
            around, before = context(dialogue[:k]), said_before(dialogue[:k], turn.text)
            known = lexicon.find(turn.text, number)
            placed, rest = locate(turn)
            for (start, end, slot), act in placed:
                spellings[slot, squeezed(turn.text[start:end])][act[3]] += 1
                spellings[slot, squeezed(act[3])][act[3]] += 1
                span_rows.append(span_row(turn, (start, end, slot), before, around))
                span_roles.append({f"{act[0]}|{act[1]}|"})
            facility = {act[2]: act for act in rest if act[2].startswith(FACILITY)}
            for span in _facilities(known):
                named = facility.pop(span[2]) if span[2] in facility else None
                span_rows.append(span_row(turn, span, before, around))
                span_roles.append({f"{named[0]}|{named[1]}|{named[3]}" if named else NONE})
                rest = [other for other in rest if other != named]
            if turn.text:
                texts.append(characters(turn, known, before, around))
                tags.append(_tags(turn.text, [span for span, _ in placed]))
            whole = {_name(act): act[1] for act in rest if act[0] != "Inform" or act[3] in NO_VALUE or act[3] == "免费"}
            text_rows.append(text_row(turn, [span for span, _ in placed], around))
            text_acts.append(set(whole))
            for what, domain in whole.items():
                if not what.startswith("General"):
                    domain_rows.append(domain_row(turn, what, around))
                    domain_names.append({domain})
    often = Counter(name for some in text_acts for name in some)
    text_acts = [{name for name in some if often[name] > 1} for some in text_acts]
    return ActModel(
        lexicon,
        fit_tagger(texts, tags, epochs, seed),
        fit_heads(span_rows, span_roles, PENALTY, seed),
        fit_heads(text_rows, text_acts, PENALTY, seed),
        fit_heads(domain_rows, domain_names, PENALTY, seed),
        {key: counts.most_common(1)[0][0] for key, counts in spellings.items()},
    )


def locate(turn: Turn) -> tuple[list[tuple[Span, Act]], list[Act]]:
    """Acts whose value stands in the text, with its place, and the others. Longer values choose first."""
    placed: list[tuple[Span, Act]] = []
    rest = []
    taken = np.zeros(len(turn.text), bool)
    for act in sorted(turn.acts, key=lambda one: -len(one[3])):
        plain = act[3] not in NO_VALUE and act[0] != "Select" and not act[2].startswith(FACILITY)
        numbers = act[3].split(" ") if act[2] == "电话" else [act[3]]
        places = [_place(turn.text, value, taken) for value in numbers] if plain else [None]
        if None in places:
            rest.append(act)
        for place in places:
            if place and None not in places:
                taken[place[0] : place[1]] = True
                placed.append(((*place, act[2]), act if len(numbers) == 1 else (*act[:3], turn.text[slice(*place)])))
    return sorted(placed), rest


def _place(text: str, value: str, taken: np.ndarray) -> tuple[int, int] | None:
    at = text.find(value)
    while at >= 0:
        if not taken[at : at + len(value)].any():
            return at, at + len(value)
        at = text.find(value, at + 1)
    kept = [i for i, c in enumerate(text) if squeezed(c)]
    wanted = squeezed(value)
    at = squeezed(text).find(wanted)
    if at < 0 or len(wanted) < 2 or len(kept) != len(squeezed(text)):
        return None
    start, end = kept[at], kept[at + len(wanted) - 1] + 1
    end += text[end : end + 1] in ("元", "分") and value[-1:] == text[end]
    return None if taken[start:end].any() else (start, end)


def squeezed(text: str) -> str:
    """A value without what people leave out or write differently: blanks, units, full width, 到 for -."""
    return text.translate(SAME).lower()


def closed(text: str, span: Span) -> Span:
    """A span that goes on to the bracket that it opened, as names of branches do: 全聚德(王府井店)."""
    start, end, slot = span
    text = text.replace("（", "(").replace("）", ")")
    if text.count("(", start, end) > text.count(")", start, end) and (at := text.find(")", end, end + 12)) >= 0:
        end = at + 1
    return start, end, slot


def _name(act: Act) -> str:
    """An act without its domain, which another head finds; of greetings and thanks it is all they are."""
    intent, domain, slot, value = act
    return f"{intent}|{domain if intent == 'General' else ''}|{slot}|{value}"


def _facilities(known: Sequence[Span]) -> list[Span]:
    return [span for span in known if span[2].startswith(FACILITY)]


def _tags(text: str, spans: Sequence[Span]) -> list[str]:
    tags = ["O"] * len(text)
    for start, end, slot in spans:
        tags[start:end] = ["B" + slot, *["I" + slot] * (end - start - 1)]
    return tags
