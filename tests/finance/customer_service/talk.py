"""A customer at the engine: messages in, texts out, with an understanding that knows a few words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from finance.customer_service.bank import MemoryBank
from finance.customer_service.dialogue import Dialogue
from finance.customer_service.entities import find
from finance.customer_service.graph import Tasks, load_tasks
from finance.customer_service.masking import mask
from finance.customer_service.state import Reply
from finance.customer_service.understood import Language, Understood
from finance.customer_service.walk import Services

TODAY = date(2026, 11, 29)
WORDS = {
    "block": "card_block",
    "挂失": "card_block",
    "balance": "account_balance",
    "余额": "account_balance",
    "rate": "exchange_rate",
    "汇率": "exchange_rate",
    "dispute": "card_dispute",
    "争议": "card_dispute",
    "limit": "card_limit",
    "限额": "card_limit",
    "transfer": "transfer_status",
    "转账": "transfer_status",
    "opening hours": "opening_hours",
    "new card": "card_order",
    "hello": "greeting",
    "thank": "thanks",
}


def understand(text: str) -> Understood:
    language: Language = "zh" if re.search(r"[\u3400-\u9fff]", text) else "en"
    intents = tuple(dict.fromkeys((WORDS[word], 0.9) for word in WORDS if word in text.casefold()))
    decision: Any = "answer" if intents else "refuse"
    if "unclear" in text:
        intents, decision = (("card_block", 0.4), ("card_limit", 0.4)), "clarify"
    return Understood(language, intents, decision, tuple(find(text, TODAY)))


def lookup(text: str, language: Language, intents: Sequence[str]) -> str | None:
    return "We are open from 9 to 17. [hours#1]" if "hours" in text else None


class Talk:
    """One dialogue."""

    def __init__(
        self, tasks: Tasks | None = None, bank: Any = None, *, strict: bool = True, **more: Mapping[str, Any]
    ) -> None:
        self.bank = bank or MemoryBank(TODAY)
        self.lookups: list[list[str]] = []
        services = Services(self.bank, self.lookup, mask, lambda: TODAY)
        self.dialogue = Dialogue(tasks or load_tasks(more=more or None), understand, services, strict=strict)
        self.state, self.reply = self.dialogue.begin()

    def say(self, *messages: str) -> Reply:
        for message in messages:
            self.state, self.reply = self.dialogue.reply(self.state, message, "s1")
        return self.reply

    @property
    def text(self) -> str:
        return "\n".join(self.reply.texts)

    def lookup(self, text: str, language: Language, intents: Sequence[str]) -> str | None:
        self.lookups.append(list(intents))
        return lookup(text, language, intents)

    def identify(self) -> Reply:
        return self.say("62220001", "1990-04-12", "246810")

    def calls(self) -> list[str]:
        return [operation for operation, _, _ in self.bank.log]
