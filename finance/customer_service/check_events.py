"""What the model checker tries: messages that stand for all messages, outcomes of what the bank can do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import product

from finance.customer_service.bank import BankError, Values
from finance.customer_service.graph import Graph, Tasks
from finance.customer_service.nodes import Branch, Call, Kind, Slot
from finance.customer_service.state import State
from finance.customer_service.understood import Entity, Language, Understood

TODAY = date(2026, 1, 15)
ASIDE = Graph.model_validate(
    {
        "id": "aside",
        "title": {"en": "something else", "zh": "其他"},
        "intents": ["aside"],
        "start": "ask",
        "slots": {"it": {"kind": "text", "attempts": 1, **{k: {"en": k, "zh": k} for k in ("title", "ask", "again")}}},
        "nodes": {"ask": {"do": "form", "slots": ["it"], "then": "end", "gave_up": "end"}, "end": {"do": "end"}},
    }
)
"""The other task that a customer may ask for in the middle of one: any other is checked by itself."""
GIVES_UP, NONSENSE = "cancels", "says nonsense"
PERSON = "asks for a person"


@dataclass(frozen=True)
class Event:
    """A message, what is understood of it, and how to call it."""

    words: str
    text: str
    understood: Understood


@dataclass
class Choices:
    """The bank and the documents: each time one of all that can happen, the first ones as given."""

    tasks: Tasks
    given: Sequence[int]
    widths: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)

    def choose(self, width: int) -> int:
        """One of so many."""
        place = len(self.taken)
        self.taken.append(self.given[place] if place < len(self.given) else 0)
        self.widths.append(width)
        return self.taken[-1]

    def call(self, operation: str, arguments: Values, *, customer: str, key: str) -> dict[str, str]:
        """See `Bank`."""
        known = self.tasks.operations[operation]
        outputs = _outputs(self.tasks, operation)
        chosen = self.choose(len(outputs) + len(known.all_errors))
        if known.private and not customer:
            self.leaked.append(operation)
        if known.changes:
            self.changed.append(operation)
        if chosen < len(outputs):
            told = ", ".join(f"{name} {value}" for name, value in outputs[chosen].items() if len(outputs) > 1)
            self.words.append(f"{operation} succeeds" + (f" with {told}" if told else ""))
            return outputs[chosen]
        code = known.all_errors[chosen - len(outputs)]
        self.words.append(f"{operation} fails with {code}")
        raise BankError(code)

    def lookup(self, text: str, language: Language, intents: Sequence[str]) -> str | None:
        """See `Services`."""
        found = self.choose(2) == 0
        self.words.append("something is found" if found else "nothing is found")
        return "found" if found else None


def _outputs(tasks: Tasks, operation: str) -> list[dict[str, str]]:
    """What an operation may give: one value of each output, or all that some branch tells apart, and one more."""
    told: dict[str, set[str]] = {}
    for graph in tasks.graphs.values():
        calls = any(isinstance(node, Call) and node.operation == operation for node in graph.nodes.values())
        for node in graph.nodes.values() if calls else ():
            if isinstance(node, Branch) and node.on in tasks.operations[operation].outputs:
                told.setdefault(node.on, {"anything_else"}).update(node.cases)
    kinds = tasks.operations[operation].outputs
    values = [sorted(told.get(name) or {value_of(kind, 0)}) for name, kind in kinds.items()]
    return [dict(zip(kinds, each, strict=True)) for each in product(*values)]


def value_of(kind: Kind, which: int, slot: Slot | None = None) -> str:
    """One of two good values."""
    if slot and kind == "amount":
        return f"{min(slot.most, max(slot.least, (100, 200)[which])):.2f}"
    if slot and kind == "code":
        return str(which + 1) * slot.digits
    if slot and kind == "choice":
        names = list(slot.choices)
        return slot.choices[names[which % len(names)]].en[0]
    if kind == "date":
        step = -1 if slot is None or slot.when != "future" else 1
        return (TODAY + step * timedelta(days=which)).isoformat()
    usual = {"amount": ("100.00", "200.00"), "currency": ("USD", "GBP"), "account": ("11111111", "22222222")}
    return {**usual, "card": ("1111", "2222")}.get(kind, ("something happened", "something else happened"))[which]


def _answer(slot: Slot, which: int, words: str, value: str = "") -> Event:
    value = value or value_of(slot.kind, which, slot)
    bare = slot.kind in ("text", "choice", "code")
    entities = () if bare else (Entity(slot.kind, 0, len(value), value, value),)  # type: ignore[arg-type]
    return Event(words, value, Understood("en", (), "refuse", entities))


def _asked(words: str, text: str, intent: str) -> Event:
    return Event(words, text, Understood("en", ((intent, 0.9),), "answer"))


def _said(words: str, text: str) -> Event:
    return Event(words, text, Understood("en", (), "refuse"))


def events_of(tasks: Tasks, state: State) -> Iterator[Event]:
    """The messages to try in a state."""
    frame = state.frames[-1]
    graph = tasks.graphs[frame.task]
    if slot := graph.slots.get(frame.waiting):
        yield _answer(slot, 0, f"gives the {frame.waiting}")
        if slot.kind == "amount":
            yield _answer(slot, 0, f"gives too large an {frame.waiting}", f"{slot.most + 1:.2f}")
        if slot.kind == "date" and slot.when != "any":
            off = TODAY + timedelta(days=9 if slot.when == "past" else -9)
            yield _answer(slot, 0, f"gives a wrong {frame.waiting}", off.isoformat())
    yield _said("says yes", "yes")
    yield _said("says no", "no")
    for name in sorted(frame.slots):
        if graph.slots[name].kind != "text" and name != frame.waiting:
            yield _answer(graph.slots[name], 1, f"corrects the {name}")
    yield _said(NONSENSE, "zz")
    yield _said("sends nothing", "")
    for intent in graph.intents[:1]:
        yield _asked("asks for the same again", "this same again?", intent)
    yield _asked("asks for something else", "and that other thing?", "aside")
    yield _asked("asks a question", "how is that?", "question")
    yield _said(GIVES_UP, "cancel")
    yield _said(PERSON, "person")
