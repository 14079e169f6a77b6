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
from pathlib import Path

from finance.customer_service.check_events import (
    ASIDE,
    GIVES_UP,
    NONSENSE,
    PERSON,
    TODAY,
    Choices,
    Event,
    events_of,
    value_of,
)
from finance.customer_service.dialogue import Dialogue
from finance.customer_service.graph import FOLDER, HANDOFF, GraphError, Tasks, load_tasks
from finance.customer_service.state import Frame, State
from finance.customer_service.understood import Understood
from finance.customer_service.walk import Services, Unsafe

MOST_STATES = 20_000


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
            for event in events_of(self.tasks, here.state):
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
            name: value if slots[name].kind == "choice" else value_of(slots[name].kind, 0, slots[name])
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
