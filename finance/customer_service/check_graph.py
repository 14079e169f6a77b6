"""A model checker for task graphs: every message in every state, with every outcome of every operation.

It runs the engine itself, so what is proved is proved of what serves. From the start of a task it tries in each state
that can come up: the answer that was asked for, a wrong one, a correction, yes, no, nonsense, silence, another task, a
question, cancel, a person; and of each operation on the way success, each of its errors, timeout, unavailable and an
answer that is none. Texts and values are a few that stand for all (explicit-state model checking; Clarke, Grumberg &
Peled, Model Checking, 1999). What must hold:

- no account data is asked of the bank, or told, before the customer is known;
- nothing is changed unless the last message was a yes to reading it back;
- every error of every operation leads on, and no text or call lacks a value;
- from every state an end can be reached by answering; who cancels is out of the task, who wants a person gets one;
- nonsense for ever ends as well, and nothing goes round without the customer.

A finding is the shortest way to it, in words. `python -m finance.customer_service.check_graph [FOLDER]` prints them.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import product
from pathlib import Path

from finance.customer_service.bank import BankError, Values
from finance.customer_service.dialogue import Dialogue
from finance.customer_service.graph import (
    FOLDER,
    HANDOFF,
    Branch,
    Call,
    Graph,
    GraphError,
    Kind,
    Slot,
    Tasks,
    load_tasks,
)
from finance.customer_service.state import Frame, State
from finance.customer_service.understood import Entity, Language, Understood
from finance.customer_service.walk import Services, Unsafe

TODAY = date(2026, 1, 15)
MOST_STATES = 20_000
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


@dataclass(frozen=True)
class Finding:
    """A rule that a task breaks, and the way there."""

    task: str
    rule: str
    path: tuple[str, ...]

    def sentence(self) -> str:
        """For a person."""
        way = ", then ".join(self.path) or "at once"
        return f"{self.task}.toml: {self.rule}: {way}."


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

    def lookup(self, text: str, language: Language) -> str | None:
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
    values = [sorted(told.get(name) or {_value(kind, 0)}) for name, kind in kinds.items()]
    return [dict(zip(kinds, each, strict=True)) for each in product(*values)]


def _value(kind: Kind, which: int, slot: Slot | None = None) -> str:
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
    value = value or _value(slot.kind, which, slot)
    bare = slot.kind in ("text", "choice", "code")
    entities = () if bare else (Entity(slot.kind, 0, len(value), value, value),)  # type: ignore[arg-type]
    return Event(words, value, Understood("en", (), "refuse", entities))


def _asked(words: str, text: str, intent: str) -> Event:
    return Event(words, text, Understood("en", ((intent, 0.9),), "answer"))


def _said(words: str, text: str) -> Event:
    return Event(words, text, Understood("en", (), "refuse"))


GIVES_UP, NONSENSE = "cancels", "says nonsense"
PERSON = "asks for a person"


def _events(tasks: Tasks, state: State) -> Iterator[Event]:
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


@dataclass
class _Seen:
    """A state that came up: how, what was awaited, and where each message leads (its words, key of the next)."""

    state: State
    path: tuple[str, ...]
    ways: list[tuple[str, str]] = field(default_factory=list)


def check(tasks: Tasks, task: str) -> list[Finding]:
    """What is wrong with one task of `tasks`, the nearest first; at most one finding of each rule."""
    return _Check(tasks, task).run()


def check_all(tasks: Tasks) -> list[Finding]:
    """What is wrong with any of them."""
    return [finding for task in tasks.graphs for finding in check(tasks, task)]


def checked(tasks: Tasks) -> Tasks:
    """The tasks as they are; raises `GraphError` with the first finding."""
    if found := check_all(tasks):
        more = f"; {len(found) - 1} more" if len(found) > 1 else ""
        raise GraphError(f"the model checker refuses it: {found[0].sentence().rstrip('.')}{more}", fix="mend the graph")
    return tasks


class _Check:
    def __init__(self, tasks: Tasks, task: str) -> None:
        phrases = tasks.phrases
        called = dict.fromkeys(("aside", "question", *tasks.graphs[task].intents), phrases.say["what"])
        phrases = phrases.model_copy(update={"intents": {**phrases.intents, **called}})
        self.tasks = Tasks(graphs={**tasks.graphs, "aside": ASIDE}, operations=tasks.operations, phrases=phrases)
        self.task = task
        self.seen: dict[str, _Seen] = {}
        self.found: dict[str, Finding] = {}

    def run(self) -> list[Finding]:
        """Explore, then look at the whole."""
        known = {"summary": "what was said"} if self.task == HANDOFF else {}
        node = self.tasks.graphs[self.task].start
        start = State(frames=[Frame(task=self.task, node=node, serial=0, known=known)])
        open_: deque[_Seen] = deque()
        for after, words in self._all("starts", start, None):
            self._add(after, words, None, open_)
        while open_:
            here = open_.popleft()
            for event in _events(self.tasks, here.state):
                for after, words in self._all(event.words, here.state, event, here.path):
                    self._add(after, words, here, open_)
                    self._look(here, event, after, words)
            if len(self.seen) > MOST_STATES:
                self._note(f"it has more than {MOST_STATES} states; make it smaller", ())
                break
        else:
            self._dead_ends()
            self._endless()
        return list(self.found.values())

    def _all(
        self, what: str, state: State, event: Event | None, path: tuple[str, ...] = ()
    ) -> Iterator[tuple[State, tuple[str, ...]]]:
        """Every state that a message can lead to, with what happened in words."""
        pending: list[tuple[int, ...]] = [()]
        said = f"the customer {what}"
        while pending:
            given = pending.pop()
            choices = Choices(self.tasks, given)
            try:
                after = self._step(state, event, choices)
                yield after, (said, *choices.words)
            except Unsafe as error:
                self._note(str(error), (*path, said, *choices.words))
            way = (*path, said, *choices.words)
            if choices.leaked:
                self._note(f"{choices.leaked[0]} is private, and nobody has made sure who asks", way)
            if choices.changed and what != "says yes":
                self._note(f"{choices.changed[0]} changes something, and the customer has not said yes", way)
            for place in range(len(given), len(choices.widths)):
                for other in range(1, choices.widths[place]):
                    pending.append((*choices.taken[:place], other))

    def _step(self, state: State, event: Event | None, choices: Choices) -> State:
        understood = event.understood if event else Understood("en", (), "refuse")
        services = Services(choices, choices.lookup, lambda text: text, lambda: TODAY)
        dialogue = Dialogue(self.tasks, lambda text: understood, services, strict=True)
        if event is None:
            after = dialogue.resume(state)
        else:
            after, _ = dialogue.reply(state, event.text)
        # What only tells of the past makes no difference to what can happen, nor which good value a slot has.
        frames = [frame.model_copy(update={"serial": 0, "slots": self._usual(frame)}) for frame in after.frames]
        return after.model_copy(update={"said": [], "troubles": [], "serial": 0, "refused": 0, "frames": frames})

    def _usual(self, frame: Frame) -> dict[str, str]:
        slots = self.tasks.graphs[frame.task].slots
        return {
            name: value if slots[name].kind == "choice" else _value(slots[name].kind, 0, slots[name])
            for name, value in frame.slots.items()
        }

    def _add(self, after: State, words: tuple[str, ...], here: _Seen | None, open_: deque[_Seen]) -> None:
        key = after.model_dump_json()
        if key not in self.seen:
            self.seen[key] = _Seen(after, (*(here.path if here else ()), *words))
            if after.frames and not after.ended:
                open_.append(self.seen[key])
        if here:
            here.ways.append((words[0].removeprefix("the customer "), key))

    def _look(self, here: _Seen, event: Event, after: State, words: tuple[str, ...]) -> None:
        if event.words == PERSON and after.ended != HANDOFF:
            self._note("who asks for a person gets none", (*here.path, *words))
        if event.words == GIVES_UP and len(after.frames) >= len(here.state.frames):
            self._note("who cancels is not out of the task", (*here.path, *words))

    def _dead_ends(self) -> None:
        """States without a way to an end but cancelling or a person."""
        back: dict[str, list[str]] = {}
        for key, seen in self.seen.items():
            for how, target in seen.ways:
                if how not in (GIVES_UP, PERSON):
                    back.setdefault(target, []).append(key)
        good = {key for key, seen in self.seen.items() if seen.state.ended or not seen.state.frames}
        open_ = list(good)
        while open_:
            new = set(back.get(open_.pop(), ())) - good
            good |= new
            open_ += new
        lost = [seen for key, seen in self.seen.items() if key not in good]
        if lost:
            where = f"{lost[0].state.frames[-1].task}.{lost[0].state.frames[-1].node}"
            self._note(f"a dead end at {where}: no answer leads to an end", lost[0].path)

    def _endless(self) -> None:
        """A circle of messages that say nothing new."""
        empty = (NONSENSE, "sends nothing", "asks for the same again", "gives too large", "gives a wrong")
        ways = {key: {target for how, target in seen.ways if how.startswith(empty)} for key, seen in self.seen.items()}
        # Take away what leads nowhere, until only circles and the ways to them are left.
        while ended := [key for key, targets in ways.items() if not targets]:
            for key in ended:
                del ways[key]
            ways = {key: targets & ways.keys() for key, targets in ways.items()}
        if ways:
            seen = self.seen[next(iter(ways))]
            where = f"{seen.state.frames[-1].task}.{seen.state.frames[-1].node}"
            self._note(f"nonsense is answered for ever at {where}", seen.path)

    def _note(self, rule: str, path: tuple[str, ...]) -> None:
        found = self.found.get(rule)
        if found is None or len(path) < len(found.path):
            self.found[rule] = Finding(self.task, rule, path)


def main(arguments: Sequence[str]) -> int:
    """Print what is wrong; 0: nothing, 1: something, 2: not graphs at all."""
    try:
        tasks = load_tasks(Path(arguments[0]) if arguments else FOLDER)
    except GraphError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    found = check_all(tasks)
    for finding in found:
        print(finding.sentence())
    print(f"{len(tasks.graphs)} tasks, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
