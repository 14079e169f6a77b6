"""Unhappy paths: simulated customers at the engine and a bank that fails; counts what broke and what went wrong.

A customer has a goal and habits: to digress, to name a wrong value and correct it, to talk nonsense, to fail the check
of identity, to cancel, to ask for a person. Who is asked to confirm reads first: yes only to the own wish. Operations
fail before or after their effect. All of it is judged from outside, by what the bank did and what was said, not by
the state of the engine. Understanding is given (its errors are measured elsewhere) unless `understand` is.

`python -m finance.customer_service.simulate [DIALOGUES] [SEED]` prints the counts.
"""

from __future__ import annotations

import random
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.resources import files
from typing import Any

from finance.customer_service.bank import BankError, MemoryBank
from finance.customer_service.dialogue import Dialogue
from finance.customer_service.entities import find
from finance.customer_service.graph import Tasks, load_tasks
from finance.customer_service.masking import mask
from finance.customer_service.state import Reply
from finance.customer_service.understood import Decision, Language, Understood
from finance.customer_service.walk import Services

TODAY = date(2026, 11, 29)
MOST_TURNS = 60
PATIENCE = 3
"""Messages of nonsense after which a task may be given up."""
WORDS: dict[str, Any] = tomllib.loads(files(__package__).joinpath("simulate.toml").read_text(encoding="utf-8"))
GOALS, SAY = WORDS["goals"], WORDS["say"]
CHANGES = ("block_card", "order_card", "set_limit", "open_dispute")


@dataclass(frozen=True)
class Habits:
    """How often a customer does something else than answer, each time; `fault`: how often an operation fails."""

    digress: float = 0.1
    slip: float = 0.15
    nonsense: float = 0.1
    impostor: float = 0.15
    cancel: float = 0.02
    person: float = 0.02
    fault: float = 0.1


@dataclass
class Customer:
    """Somebody who wants one thing, and what was agreed with them."""

    goal: str
    language: Language
    habits: Habits
    dice: random.Random
    impostor: bool
    wants: dict[str, str] = field(default_factory=dict)
    slipped: dict[str, str] = field(default_factory=dict)
    meant: dict[str, Understood] = field(default_factory=dict)
    agreed: set[tuple[str, ...]] = field(default_factory=set)
    left: str = ""
    babbled: int = 0

    def say(self, text: str, intent: str = "") -> str:
        """The text; what it means is remembered for the engine."""
        intents = ((intent, 0.95),) if intent else ()
        decision: Decision = "answer" if intent else "refuse"
        self.meant[text] = Understood(self.language, intents, decision, tuple(find(text, TODAY)))
        return text

    def words(self, name: str, value: str = "") -> str:
        """A usual saying, around a value."""
        return SAY[name][self.language].format(value)

    def open(self) -> str:
        """The first message."""
        return self.say(GOALS[self.goal][self.language], GOALS[self.goal]["intent"])

    def answer(self, reply: Reply) -> str:
        """The next message; "bye" when nothing is awaited."""
        roll, habits = self.dice.random, self.habits
        if not reply.awaits:
            return self.say(self.words("bye"))
        if roll() < habits.person:
            self.left = "person"
            return self.say(self.words("person"))
        if roll() < habits.cancel:
            self.left = "cancel"
            return self.say(self.words("cancel"))
        if roll() < habits.nonsense:
            self.babbled += 1
            return self.say(self.dice.choice(WORDS["nonsense"][self.language]))
        if roll() < habits.digress:
            return self.say(WORDS["question"][self.language], "opening_hours")
        return self.say(self._agree(reply) if reply.awaits == "yes" else self._value(reply.awaits.rpartition(".")[2]))

    def _value(self, slot: str) -> str:
        """The value asked for, or a slip that is corrected when it is read back."""
        if slot in ("card", "amount") and self.dice.random() < self.habits.slip:
            self.slipped[slot] = {"card": "5678", "amount": "321"}[slot]
            return self._spoken(slot, self.slipped[slot])
        self.slipped.pop(slot, None)
        return self._spoken(slot, self.wants[slot])

    def _spoken(self, slot: str, value: str) -> str:
        return self.words(slot, value) if slot in SAY else value

    def _agree(self, reply: Reply) -> str:
        asked = reply.texts[-1]
        if "new card" in asked or "新卡" in asked:
            self.agreed.add(("order_card", self.wants["card"]))
            return self.words("yes")
        if self.slipped:
            slot, _ = self.slipped.popitem()
            return self.words("no", self._spoken(slot, self.wants[slot]))
        shown = [self.wants[slot] for slot in ("card",) if slot in self.wants]
        shown += [f"{float(self.wants['amount']):,.2f}"] if "amount" in self.wants else []
        if not all(value in asked for value in shown):
            return self.words("deny")
        operation = {"block_card": "block_card", "change_limit": "set_limit", "dispute": "open_dispute"}[self.goal]
        self.agreed.add((operation, *(self.wants[name] for name in ("card", "amount") if name in self.wants)))
        return self.words("yes")


def simulate(
    dialogues: int,
    seed: int,
    tasks: Tasks | None = None,
    habits: Habits | None = None,
    understand: Callable[[str], Understood] | None = None,
    bank: type[MemoryBank] = MemoryBank,
) -> Counter[str]:
    """Counts over so many dialogues. Outcomes: `done`, `handoff`, `left`. What must not be: `stuck` (over 60 turns),
    `unreached` (nothing failed, nobody left, and the goal is not there), `wrong_change` (not agreed to), `twice`,
    `leak` (account data to an impostor). A crash is not counted but raised."""
    tasks, habits, dice = tasks or load_tasks(), habits or Habits(), random.Random(seed)
    counts: Counter[str] = Counter()
    for number in range(dialogues):
        goal = dice.choice(list(GOALS))
        customer = Customer(
            goal, dice.choice(("en", "zh")), habits, dice, dice.random() < habits.impostor, _wants(goal)
        )
        if customer.impostor:
            customer.wants["code"] = "999999"
        counts.update(_one(tasks, customer, f"s{number}", understand, bank))
        counts["dialogues"] += 1
    return counts


def _wants(goal: str) -> dict[str, str]:
    identity = {"account": "62220001", "birth": "1990-04-12", "code": "246810"}
    details = {"reason": "twice", "details": "the shop charged it two times", "date": "2026-11-20", "currency": "USD"}
    own = {
        "block_card": {"card": "1234"},
        "change_limit": {"card": "1234", "amount": "800"},
        "dispute": {"card": "1234", "amount": "49.90"},
        "transfer_status": {"amount": "250"},
    }
    return {**identity, **details, **own.get(goal, {})}


def _one(
    tasks: Tasks,
    customer: Customer,
    session: str,
    understand: Callable[[str], Understood] | None,
    kind: type[MemoryBank],
) -> Counter[str]:
    faults = 0

    def fail(operation: str, when: str) -> None:
        nonlocal faults
        if customer.dice.random() < customer.habits.fault / 2:
            faults += 1
            raise BankError(customer.dice.choice(("timeout", "unavailable", "invalid")))

    bank = kind(TODAY, fail)
    documents = Services(bank, lambda *_: "9-17 [hours#1]", mask, lambda: TODAY)
    dialogue = Dialogue(tasks, understand or customer.meant.__getitem__, documents, strict=True)
    state, reply = dialogue.begin(customer.language)
    text, told = customer.open(), []
    counts: Counter[str] = Counter()
    while not reply.ended and counts["turns"] < MOST_TURNS:
        state, reply = dialogue.reply(state, text, session)
        told += reply.texts
        counts["turns"] += 1
        text = "" if reply.ended else customer.answer(reply)
    outcome = (
        "stuck" if not reply.ended else "handoff" if reply.ended == "handoff" else (customer.left and "left") or "done"
    )
    reached = _reached(customer, bank, "\n".join(told))
    may_fail = faults or customer.left or customer.impostor or outcome in ("stuck", "handoff")
    may_fail = may_fail or customer.babbled >= PATIENCE
    changes = [_change(operation, arguments) for operation, _, arguments in bank.log if operation in CHANGES]
    counts[outcome] += 1
    counts["reached"] += reached
    counts["unreached"] += not reached and not may_fail
    counts["wrong_change"] += any(change not in customer.agreed for change in changes)
    counts["twice"] += len(changes) != len(set(changes))
    counts["leak"] += (
        customer.impostor and (reached or any(who for _, who, _ in bank.log)) and customer.goal != "exchange_rate"
    )
    return counts


def _change(operation: str, arguments: Mapping[str, str]) -> tuple[str, ...]:
    return (operation, *(arguments[name].split()[0] for name in ("card", "amount") if name in arguments))


def _reached(customer: Customer, bank: MemoryBank, told: str) -> bool:
    match customer.goal:
        case "block_card":
            return bank.cards["1234"][1] == "blocked"
        case "change_limit":
            return bank.limits["1234"] == 800
        case "dispute":
            return bool(bank.disputes)
        case "balance":
            return "1,234.50" in told
        case "transfer_status":
            return "250.00" in told and ("30 November" in told or "11月30日" in told)
    return bank.rates["USD"] in told


def main(arguments: Sequence[str]) -> int:
    """Print the counts; 1 when something was broken or wrong."""
    dialogues, seed = (int(each) for each in (*arguments, *("1000", "7")[len(arguments) :]))
    counts = simulate(dialogues, seed)
    for name in ("dialogues", "turns", "done", "handoff", "left", "reached"):
        print(f"{name:14}{counts[name]:8,}")
    bad = {name: counts[name] for name in ("stuck", "unreached", "wrong_change", "twice", "leak")}
    for name, count in bad.items():
        print(f"{name:14}{count:8,}")
    return 1 if any(bad.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
