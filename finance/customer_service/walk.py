"""The part of a dialogue that needs no customer: from node to node until something is asked or the tasks are over.

What a graph forgot is caught here: private data without a known customer, a change without a yes, an error that no
node handles, a walk in circles. Then a person takes over; in `strict` mode, of the model checker, it is an error.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from finance.customer_service.bank import Bank, BankError
from finance.customer_service.graph import HANDOFF, IDENTITY, Graph, Tasks
from finance.customer_service.nodes import (
    Branch,
    Call,
    Confirm,
    Form,
    Handoff,
    Identify,
    Lookup,
    Retry,
    Say,
    Slot,
    Text,
)
from finance.customer_service.state import Frame, State
from finance.customer_service.understood import Language
from finance.customer_service.values import shown

logger = logging.getLogger("espalier.customer_service")

MOST_SAID = 6


class Unsafe(Exception):
    """What a graph would have done if the engine had let it."""


@dataclass(frozen=True)
class Services:
    """What is around a dialogue: the bank, the documents (the answer with its sources, or None), what hides personal
    data in a text, and today."""

    bank: Bank
    lookup: Callable[[str, Language, Sequence[str]], str | None]
    mask: Callable[[str], str]
    today: Callable[[], date]


class Walk:
    """One turn over a state, which it changes; `texts` is what was said, `asked`: the open question is among it;
    `wishes` is what is to be looked up in documents."""

    def __init__(
        self, tasks: Tasks, services: Services, state: State, session: str, question: str, *, strict: bool
    ) -> None:
        self.tasks, self.services, self.state = tasks, services, state
        self.session, self.question, self.strict = session, question, strict
        self.texts: list[str] = []
        self.wishes: list[str] = []
        self.ran, self.asked = False, False
        self.passed: set[tuple[int, str]] = set()

    # What is said

    def tell(self, text: Text, values: Mapping[str, str]) -> None:
        """A text with its values, which are already as they are shown."""
        self.texts.append(text.of(self.state.language).format_map(dict(values)))

    def say(self, phrase: str, **values: str) -> None:
        """One of the engine's own phrases."""
        self.tell(self.tasks.phrases.say[phrase], values)

    def title(self, task: str) -> str:
        """What a task is called."""
        return self.tasks.graphs[task].title.of(self.state.language)

    # Where it goes

    @property
    def frame(self) -> Frame | None:
        """The task at hand."""
        return self.state.frames[-1] if self.state.frames else None

    @property
    def slot(self) -> Slot | None:
        """What was asked for."""
        frame = self.frame
        return self.tasks.graphs[frame.task].slots.get(frame.waiting) if frame else None

    def start(self, task: str) -> Frame:
        """Begin a task over those that wait."""
        self.state.serial += 1
        frame = Frame(task=task, node=self.tasks.graphs[task].start, serial=self.state.serial)
        self.state.frames.append(frame)
        return frame

    def go(self, frame: Frame, node: str) -> None:
        """On to a node."""
        frame.node, frame.waiting, frame.tries = node, "", 0

    def cancel(self) -> None:
        """Leave the task at hand; who leaves the check of identity leaves what it was for."""
        frame = self.state.frames.pop()
        if frame.task == IDENTITY and self.state.frames:
            frame = self.state.frames.pop()
        self.say("cancelled", task=self.title(frame.task))
        self.ran = True
        self._back()

    def leave(self) -> None:
        """The customer says goodbye."""
        self.state.frames, self.state.queue, self.state.offered, self.state.ended = [], [], [], "done"
        self.say("bye")

    def hand_over(self, reason: str) -> None:
        """Leave everything to a person, who gets a summary."""
        summary = self._summary(reason)
        self.state.frames, self.state.queue, self.state.offered = [], [], []
        self.start(HANDOFF).known["summary"] = summary

    def run(self) -> None:
        """Walk until the customer is asked for something, or nothing is left to do."""
        while (frame := self.frame) or (self.state.queue and not self.state.ended):
            if frame is None:
                self.say("also", task=self.title(self.state.queue[0]))
                self.start(self.state.queue.pop(0))
                continue
            self.ran = True
            if (frame.serial, frame.node) in self.passed:
                self._net(f"{frame.task}.{frame.node}: it goes round and round without the customer")
                continue
            self.passed.add((frame.serial, frame.node))
            if not self._step(frame, self.tasks.graphs[frame.task]):
                return
        if self.ran and not self.state.ended:
            self.say("more")

    def _step(self, frame: Frame, graph: Graph) -> bool:
        """One node; False: now it is the customer's turn."""
        node = graph.nodes[frame.node]
        if isinstance(node, Form):
            missing = next((name for name in node.slots if name not in frame.slots), None)
            if missing is None:
                self.go(frame, node.then)
                return True
            frame.tries = frame.tries if frame.waiting in ("", missing) else 0
            frame.waiting = missing
            if not self.asked:
                self.tell(graph.slots[missing].ask, {})
            return False
        if isinstance(node, Confirm):
            frame.waiting, frame.confirmed = "yes", False
            if (values := self._values(frame, graph, node.text)) is not None:
                self.tell(node.text, values)
            return values is None
        if isinstance(node, Identify):
            if self.state.customer:
                self.go(frame, node.ok)
            else:
                self.start(IDENTITY)
        elif isinstance(node, Call):
            self._call(frame, node)
        elif isinstance(node, Branch):
            self.go(frame, node.cases.get(self._known(frame).get(node.on, ""), node.otherwise))
        elif isinstance(node, Lookup):
            asked = [[wish] for wish in self.wishes] or [[]]
            found = [self.services.lookup(self.question, self.state.language, one) for one in asked]
            self.texts += dict.fromkeys(answer for answer in found if answer)
            self.go(frame, node.found if any(found) else node.nothing)
        elif isinstance(node, Retry):
            left = frame.retries.get(frame.node, 0) < node.times
            frame.retries[frame.node] = frame.retries.get(frame.node, 0) + 1
            for name in node.slots if left else ():
                frame.slots.pop(name, None)
                frame.used = [used for used in frame.used if used != name]
            self.passed.clear()  # they are asked for again
            self.go(frame, node.then if left else node.gave_up)
        elif isinstance(node, Say):
            if (values := self._values(frame, graph, node.text)) is not None:
                self.tell(node.text, values)
                self.go(frame, node.then)
        elif isinstance(node, Handoff):
            self.hand_over(node.reason.of(self.state.language))
        else:
            self._end(node.outcome)
        return True

    def _end(self, outcome: str) -> None:
        ended = self.state.frames.pop()
        if ended.task == HANDOFF:
            self.state.frames, self.state.ended = [], "handoff"
            return
        below = self.frame
        node = self.tasks.graphs[below.task].nodes[below.node] if below else None
        if below and ended.task == IDENTITY and isinstance(node, Identify):
            self.go(below, node.ok if outcome == "done" and self.state.customer else node.failed)
            return
        self._back()

    def _back(self) -> None:
        below = self.frame
        if below:
            self.say("back", task=self.title(below.task))
            below.waiting = ""  # asks again

    # What the bank does

    def _call(self, frame: Frame, node: Call) -> None:
        operation, known = self.tasks.operations[node.operation], self._known(frame)
        where = f"{frame.task}.{frame.node}"
        if operation.private and not self.state.customer:
            return self._net(f"{where}: {node.operation} is private, and nobody has made sure who asks")
        if operation.changes and not frame.confirmed:
            return self._net(f"{where}: {node.operation} changes something, and the customer has not said yes")
        lacking = [name for name in node.arguments.values() if name not in known]
        if lacking:
            return self._net(f"{where}: {lacking[0]} is not known here")
        arguments = {name: known[value] for name, value in node.arguments.items()}
        # The same for the same wish, however often it is sent: a bank carries it out once.
        wish = repr((self.session, frame.serial, node.operation, sorted(arguments.items())))
        key = hashlib.sha256(wish.encode()).hexdigest()[:32]
        try:
            found = self.services.bank.call(node.operation, arguments, customer=self.state.customer, key=key)
            if not all(isinstance(found.get(name), str) and found[name] for name in operation.outputs):
                raise BankError("invalid")
        except BankError as error:
            code = error.code if error.code in operation.all_errors else "invalid"
            logger.info("operation failed", extra={"fields": {"operation": node.operation, "error": code}})
            self.state.troubles = [*self.state.troubles, f"{node.operation}: {code}"][-MOST_SAID:]
            if code not in node.errors:
                return self._net(f"{where}: the error {code} of {node.operation} is not handled")
            return self.go(frame, node.errors[code])
        logger.info("operation done", extra={"fields": {"operation": node.operation}})
        frame.known |= {name: found[name] for name in operation.outputs}
        frame.used = sorted({*frame.used, *(name for name in node.arguments.values() if name in frame.slots)})
        if operation.identifies:
            self.state.customer = found["customer"]
        self.go(frame, node.ok)
        return None

    def _known(self, frame: Frame) -> dict[str, str]:
        return {**frame.slots, **frame.known}

    def _values(self, frame: Frame, graph: Graph, text: Text) -> dict[str, str] | None:
        """What stands in the braces of a text as it is shown; None: something is missing, and a person takes over."""
        known, values = self._known(frame), {}
        for name in text.names:
            if name not in known:
                self._net(f"{frame.task}.{frame.node}: {name} is not known here")
                return None
            kind = self.tasks.kind_of(graph, name) or "text"
            if kind == "choice":
                words = graph.slots[name].choices[known[name]]
                values[name] = (words.en if self.state.language == "en" else words.zh)[0]
            else:
                values[name] = shown(kind, known[name], self.state.language)
        return values

    # What went wrong

    def _net(self, what: str) -> None:
        """The graph has a hole: a person takes over."""
        if self.strict:
            raise Unsafe(what)
        logger.error("a task graph has a hole", extra={"fields": {"hole": what}})
        self.say("sorry")
        if any(frame.task == HANDOFF for frame in self.state.frames):
            self.state.frames, self.state.ended = [], "handoff"
        else:
            self.hand_over(self.tasks.phrases.say["broken"].of(self.state.language))

    def _summary(self, reason: str) -> str:
        """For the colleague who takes over: everything that is known, nothing that identifies."""
        say, language = self.tasks.phrases.say, self.state.language
        lines = [reason, say["known" if self.state.customer else "unknown"].of(language)]
        for frame in self.state.frames:
            graph = self.tasks.graphs[frame.task]
            lines.append(f"{self.title(frame.task)}:")
            for name, value in frame.slots.items():
                slot = graph.slots[name]
                seen = "•••" if slot.secret else self.services.mask(value) if slot.kind == "text" else ""
                lines.append(f"  {slot.title.of(language)}: {seen or shown(slot.kind, value, language)}")
        lines += [f"+ {self.title(task)}" for task in self.state.queue]
        lines += [f"! {trouble}" for trouble in self.state.troubles]
        return "\n".join([*lines, *(f"> {said}" for said in self.state.said)])
