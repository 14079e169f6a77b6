"""A dialogue: what a customer says moves the task at hand on, begins another, corrects, cancels, or calls a person.

`Dialogue` keeps nothing: a state and a message give a new state and a reply, so that a state can lie in a database
between two messages and the model checker can try every message in every state. What a message means comes from
`understand`; here it is decided what it means *now*, in this order: a person is wanted; the task is to stop; a yes, no
or value that was asked for; a correction of something said before; another task (the one at hand waits meanwhile);
else it was not understood, and after some attempts the task ends as its graph says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

from finance.customer_service.graph import FALLBACK, Tasks
from finance.customer_service.nodes import Confirm, Form, Slot
from finance.customer_service.signals import Signals, is_question, language_after, numbered
from finance.customer_service.state import Frame, Reply, State
from finance.customer_service.understood import Entity, Language, Understood
from finance.customer_service.values import fault, plain, read, shown
from finance.customer_service.walk import MOST_SAID, Services, Walk

SURE = 0.5
"""Least probability of an intent that is followed."""
DEEPEST = 3
"""Tasks that may wait for one another, without the check of identity."""
REFUSALS = 2
"""In a row, before a person is offered."""


class Dialogue:
    """The engine over some task graphs; safe for many threads as far as `understand` and the services are."""

    def __init__(
        self, tasks: Tasks, understand: Callable[[str], Understood], services: Services, *, strict: bool = False
    ) -> None:
        self.tasks, self.understand, self.services, self.strict = tasks, understand, services, strict
        self._signals = Signals(tasks.phrases.words)

    def begin(self, language: Language = "en") -> tuple[State, Reply]:
        """A new dialogue and its greeting."""
        state = State(language=language)
        return state, self._replied(Walk(self.tasks, self.services, state, "", "", strict=self.strict), "hello")

    def resume(self, state: State) -> State:
        """The state after what can be done without the customer, as at the start of a task."""
        state = state.model_copy(deep=True)
        Walk(self.tasks, self.services, state, "", "", strict=self.strict).run()
        return state

    def reply(self, state: State, text: str, session: str = "") -> tuple[State, Reply]:
        """The state after a message, and what is said to it; `session` makes what the bank is asked unique."""
        state = state.model_copy(deep=True)
        walk = Walk(self.tasks, self.services, state, session, text, strict=self.strict)
        if state.ended:
            return state, self._replied(walk, "over")
        if not all(self.tasks.knows(frame) for frame in state.frames):
            # It began with graphs that are no longer served.
            state.frames = []
            walk.say("sorry")
            walk.hand_over(self.tasks.phrases.say["broken"].of(state.language))
            walk.run()
            return state, self._replied(walk)
        understood = self.understand(text)
        state.language = language_after(text, understood, state.language)
        secret = walk.slot is not None and walk.slot.secret
        state.said = [*state.said, "•••" if secret else self.services.mask(text)[:200]][-MOST_SAID:]
        signal = self._signals.of(text)
        wishes = self._wishes(understood)
        walk.wishes = [wish for wish in wishes if self._task(wish) == FALLBACK]
        if signal == "person" or ("handoff" in wishes and not (walk.slot and walk.slot.kind == "text")):
            state.queue += self._tasks(wishes)  # for the summary
            walk.hand_over(self.tasks.phrases.say["asked"].of(state.language))
        elif signal == "bye":
            walk.leave()
        elif (frame := walk.frame) is not None:
            self._in_task(walk, frame, text, signal, understood, wishes)
        else:
            self._idle(walk, text, signal, understood, wishes)
        walk.run()
        return state, self._replied(walk)

    # In a task

    def _in_task(
        self, walk: Walk, frame: Frame, text: str, signal: str, understood: Understood, wishes: Sequence[str]
    ) -> None:
        graph = self.tasks.graphs[frame.task]
        node = graph.nodes[frame.node]
        other = self._tasks(wishes, but={frame.task for frame in walk.state.frames})
        if signal == "cancel":
            walk.cancel()
        elif signal in ("thanks", "hello"):
            walk.asked = False  # and the open question comes again
        elif isinstance(node, Confirm):
            if signal == "yes":
                frame.confirmed = True
                walk.go(frame, node.yes)
            elif self._corrected(walk, frame, text, understood.entities):
                frame.tries = 0
            elif signal == "no":
                walk.go(frame, node.no)
            elif other:
                self._aside(walk, other, text, understood)
            else:
                self._again(walk, frame, node.attempts, node.gave_up, "yes_or_no")
        elif isinstance(node, Form):
            slot = graph.slots[frame.waiting]
            asks = bool(other) and is_question(text)
            silent = asks or (signal and slot.kind != "choice")
            value = None if silent else read(slot, text, understood.entities, walk.state.language, asked=True)
            if value is not None and (wrong := fault(slot, value, self.services.today())):
                self._again(walk, frame, slot.attempts, node.gave_up, wrong, slot)
            elif value is not None:
                frame.slots[frame.waiting] = value
                if slot.kind != "text":
                    # The number that answers the question is not something else as well.
                    others = [one for one in understood.entities if _digits(one.value) != _digits(value)]
                    self._corrected(walk, frame, text, others, asked=slot)
                    self._fill(walk, frame, text, others)
            elif not asks and self._corrected(walk, frame, text, understood.entities, asked=slot):
                frame.tries = 0
            elif other:
                self._aside(walk, other, text, understood)
            else:
                self._again(walk, frame, slot.attempts, node.gave_up, "", slot)

    def _again(
        self, walk: Walk, frame: Frame, attempts: int, gave_up: str, phrase: str, slot: Slot | None = None
    ) -> None:
        """Not understood: say why, ask again, and after the last attempt go on as the graph says."""
        frame.tries += 1
        if frame.tries >= attempts:
            walk.go(frame, gave_up)
        elif slot is None or phrase:
            values = {"least": f"{slot.least:,.2f}", "most": f"{slot.most:,.2f}"} if slot else {}
            walk.say(phrase, **values)
        else:
            walk.tell(slot.again, {})
            walk.asked = True

    def _corrected(
        self, walk: Walk, frame: Frame, text: str, entities: Sequence[Entity], asked: Slot | None = None
    ) -> bool:
        """Whether the message changes something that was said before; values that were used already stay."""
        graph, language, found = self.tasks.graphs[frame.task], walk.state.language, False
        for name, slot in graph.slots.items():
            if name not in frame.slots or slot.kind == "text" or (asked and asked.kind == slot.kind):
                continue
            value = read(slot, text, entities, language, asked=False)
            if value is None:
                continue
            if slot.kind == "amount" and " " not in value:  # who corrects the figure means the same currency
                value = " ".join([value, *frame.slots[name].split()[1:]])
            if value == frame.slots[name]:
                continue
            found, title = True, slot.title.of(language)
            if name in frame.used:
                walk.say("locked", slot=title)
            elif wrong := fault(slot, value, self.services.today()):
                walk.say(wrong, least=f"{slot.least:,.2f}", most=f"{slot.most:,.2f}")
            else:
                frame.slots[name], frame.confirmed = value, False
                seen = "•••" if slot.secret else self._seen(slot, value, language)
                walk.say("changed", slot=title, value=seen)
        return found

    def _seen(self, slot: Slot, value: str, language: Language) -> str:
        if slot.kind == "choice":
            return (slot.choices[value].en if language == "en" else slot.choices[value].zh)[0]
        return shown(slot.kind, value, language)

    def _fill(self, walk: Walk, frame: Frame, text: str, entities: Sequence[Entity]) -> None:
        """Keep whatever else of the task's slots a message names."""
        for name, slot in self.tasks.graphs[frame.task].slots.items():
            if name not in frame.slots:
                value = read(slot, text, entities, walk.state.language, asked=False)
                if value is not None and not fault(slot, value, self.services.today()):
                    frame.slots[name] = value

    # Between tasks

    def _idle(self, walk: Walk, text: str, signal: str, understood: Understood, wishes: Sequence[str]) -> None:
        state, offered = walk.state, walk.state.offered
        state.offered, refused, state.refused = [], state.refused, 0
        chosen = self._chosen(offered, text, signal, wishes, state.language)
        if chosen == "handoff":
            walk.hand_over(self.tasks.phrases.say["asked"].of(state.language))
        elif chosen:
            self._begin(walk, [chosen], text, understood)
        elif signal == "no" and not offered:
            walk.leave()
        elif signal:
            walk.say({"cancel": "nothing", "thanks": "welcome", "hello": "hello"}.get(signal, "what"))
            walk.texts += [] if signal in ("yes", "no", "hello") else [self._phrase("more", state.language)]
        elif wishes and understood.decision == "answer":
            self._begin(walk, wishes, text, understood)
        elif understood.decision == "clarify" and (
            options := [name for name, _ in understood.intents if self._knows(name)]
        ):
            state.offered = options[:3]
            labels = [self.tasks.phrases.intents[name].of(state.language) for name in state.offered]
            walk.say("which", options=numbered(labels, state.language))
        elif understood.unread:
            walk.say(understood.unread)
        else:
            state.refused = refused + 1
            titles = [walk.title(task) for task in dict.fromkeys(self.tasks.by_intent.values()) if task != "handoff"]
            walk.say("refused", tasks=("、" if state.language == "zh" else ", ").join(titles))
            if state.refused >= REFUSALS:
                state.offered = ["handoff"]
                walk.say("offer")

    def _begin(self, walk: Walk, intents: Sequence[str], text: str, understood: Understood) -> None:
        if intents[0] in ("greeting", "thanks"):
            walk.say("hello" if intents[0] == "greeting" else "welcome")
            return
        tasks = self._tasks(intents)
        walk.wishes = [name for name in intents if self._task(name) == FALLBACK]
        self._later(walk, tasks)
        self._fill(walk, walk.start(tasks[0]), text, understood.entities)

    def _later(self, walk: Walk, tasks: Sequence[str]) -> None:
        """Of several tasks all but the first wait, and the customer is told so."""
        walk.state.queue += [task for task in tasks[1:] if task not in walk.state.queue]
        if len(tasks) > 1:
            comma = "、" if walk.state.language == "zh" else ", "
            walk.say("several", task=walk.title(tasks[0]), then=comma.join(walk.title(task) for task in tasks[1:]))

    def _aside(self, walk: Walk, tasks: Sequence[str], text: str, understood: Understood) -> None:
        """Other tasks, the first at once; the one at hand waits."""
        below = walk.frame
        if sum(frame.task != "identity" for frame in walk.state.frames) >= DEEPEST and below:
            walk.say("first", task=walk.title(below.task))
            return
        self._later(walk, tasks)
        if len(tasks) == 1:
            walk.say("aside", task=walk.title(tasks[0]))
        self._fill(walk, walk.start(tasks[0]), text, understood.entities)

    def _chosen(self, offered: Sequence[str], text: str, signal: str, wishes: Sequence[str], language: Language) -> str:
        if not offered:
            return ""
        if offered == ["handoff"]:
            return "handoff" if signal == "yes" else ""
        said = plain(text)
        if said.isdigit() and 1 <= int(said) <= len(offered):
            return offered[int(said) - 1]
        named = [name for name in offered if plain(self.tasks.phrases.intents[name].of(language)) in said]
        return named[0] if len(named) == 1 else next((wish for wish in wishes if wish in offered), "")

    def _wishes(self, understood: Understood) -> list[str]:
        """What is asked for, best first."""
        if understood.decision != "answer" or not understood.intents:
            return []
        first = understood.intents[0][0]
        return [name for name, p in understood.intents if (name == first or p >= SURE) and self._knows(name)]

    def _knows(self, intent: str) -> bool:
        return intent in self.tasks.phrases.intents

    def _task(self, intent: str) -> str:
        return self.tasks.by_intent.get(intent, FALLBACK)

    def _tasks(self, wishes: Sequence[str], but: Collection[str] = ()) -> list[str]:
        """The tasks that are asked for, but some; a question first: its words are there now."""
        tasks = dict.fromkeys(self._task(name) for name in wishes if name not in ("greeting", "thanks", "handoff"))
        return sorted((task for task in tasks if task not in but), key=lambda task: task != FALLBACK)

    # The reply

    def _phrase(self, name: str, language: Language) -> str:
        return self.tasks.phrases.say[name].of(language)

    def _replied(self, walk: Walk, phrase: str = "") -> Reply:
        state, frame = walk.state, walk.frame
        if phrase:
            walk.say(phrase)
        awaits, options = "", []
        if frame and not state.ended:
            awaits, slot = "yes" if frame.waiting == "yes" else f"{frame.task}.{frame.waiting}", walk.slot
            if frame.waiting == "yes":
                options = self._yes_no(state.language)
            elif slot and slot.kind == "choice":
                options = [self._seen(slot, name, state.language) for name in slot.choices]
        elif state.offered == ["handoff"]:
            awaits, options = "yes", self._yes_no(state.language)
        elif state.offered:
            awaits = "choice"
            options = [self.tasks.phrases.intents[name].of(state.language) for name in state.offered]
        return Reply(texts=walk.texts, awaits=awaits, options=options, language=state.language, ended=state.ended)

    def _yes_no(self, language: Language) -> list[str]:
        words = self.tasks.phrases.words
        return [(words[name].en if language == "en" else words[name].zh)[0] for name in ("yes", "no")]


def _digits(value: str) -> str:
    return re.sub(r"\D", "", value)
