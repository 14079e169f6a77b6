"""Sessions with the engine over them: what a message is answered, and with which bank.

The bank is the one at `ESPALIER_BANK_URL`. Without it, a bank in memory with two made-up customers answers, outside
production only, and every answer says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.errors import RequestError
from finance.customer_service.bank import Bank, MemoryBank
from finance.customer_service.bank_http import HttpBank
from finance.customer_service.check_graph import checked
from finance.customer_service.dialogue import Dialogue
from finance.customer_service.graph import FOLDER, load_tasks
from finance.customer_service.masking import mask
from finance.customer_service.sessions import LIFETIME, Session, Sessions
from finance.customer_service.state import Outcome
from finance.customer_service.understood import Language, Understood
from finance.customer_service.walk import Services

MOST_CHARACTERS = 2000
EXAMPLE: dict[str, Any] = {
    "id": "pX2v9Zq0aT3kLw8RbnC5Yg",
    "turn": 1,
    "texts": ["First I have to make sure it is you. What is your account number?"],
    "awaits": "identity.account",
    "options": [],
    "language": "en",
    "ended": "",
    "expires_s": 1800,
    "demo": True,
}


class BankSettings(BaseSettings):
    """Where the bank is, and which task graphs to use in place of those that come along."""

    model_config = SettingsConfigDict(env_prefix="ESPALIER_", env_file=".env", extra="ignore")

    bank_url: str = Field("", description="of the bank's operations; see bank_http.py")
    bank_key: str = Field("", description="bearer token for it")
    task_graphs: Path | None = Field(None, description="folder of task graphs; they are model-checked at the start")


class NoBank(RequestError):
    """In production the bank must be named."""

    status = 503


class Understands(Protocol):
    """What the routes need of the system's predictor."""

    def understand(self, text: str) -> Understood:
        """What a message means."""

    def lookup(self, text: str, language: Language, intents: Sequence[str]) -> str | None:
        """An answer from documents with its sources to what is asked for, or None."""


def _body(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(extra="forbid", frozen=True, strict=True, json_schema_extra={"examples": [example]})


class Begin(BaseModel):
    """A new dialogue; its language follows the customer's messages later."""

    model_config = _body({"language": "en"})

    language: Language = "en"


class Message(BaseModel):
    """What the customer says. The same `id` again gets the same answer and does nothing twice; with `turn`, the message
    is refused when the session is further on than the client saw."""

    model_config = _body({"text": "I have lost my card", "id": "m1"})

    text: str = Field(max_length=MOST_CHARACTERS)
    id: str = Field("", pattern=r"^[A-Za-z0-9._-]{0,64}$")
    turn: int | None = Field(None, ge=0)


class Answer(BaseModel):
    """What is said to the customer, and what is awaited: "" (nothing), "yes", "choice", or a slot as `task.slot`."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: str
    turn: int = Field(description="messages so far")
    texts: list[str]
    awaits: str
    options: list[str]
    language: Language
    ended: Outcome
    expires_s: int = Field(description="from now, without a further message")
    demo: bool = Field(description="the bank is made up")


class Desk:
    """The sessions with the engine over them; methods block, and raise what `Sessions` raises and `NoBank`."""

    def __init__(
        self, predictor: Callable[[], Understands], sessions: Sessions, own: BankSettings, *, production: bool = False
    ) -> None:
        tasks = load_tasks(own.task_graphs or FOLDER)
        if own.task_graphs:
            checked(tasks)
        self.sessions, self.demo, self.closed = sessions, not own.bank_url, production and not own.bank_url
        self.bank: Bank = HttpBank(own.bank_url, own.bank_key) if own.bank_url else MemoryBank(date.today())
        services = Services(self.bank, lambda *asked: predictor().lookup(*asked), mask, lambda: date.today())
        self._dialogue = Dialogue(tasks, lambda text: predictor().understand(text), services)

    def begin(self, owner: str, language: Language) -> Answer:
        """A new session."""
        if self.closed:
            raise NoBank("no bank is configured", where="ESPALIER_BANK_URL", fix="set it to the bank's address")
        return self._answer(self.sessions.create(owner, *self._dialogue.begin(language)))

    def say(self, id: str, owner: str, message: Message) -> Answer:
        """The answer to a message; the one it got before, when it is sent again."""
        known = self.sessions.find(id, owner)
        if message.id and message.id == known.message:
            return self._answer(known)
        session = self.sessions.claim(id, owner, message.turn)
        try:
            state, reply = self._dialogue.reply(session.state, message.text, session.id)
        except BaseException:
            self.sessions.release(session)
            raise
        return self._answer(self.sessions.save(session, state, reply, message.id))

    def last(self, id: str, owner: str) -> Answer:
        """The last answer."""
        return self._answer(self.sessions.find(id, owner))

    def close(self) -> None:
        """Let go of database and bank."""
        self.sessions.close()
        if isinstance(self.bank, HttpBank):
            self.bank.close()

    def _answer(self, session: Session) -> Answer:
        said = session.reply.model_dump()
        return Answer(id=session.id, turn=session.turn, expires_s=LIFETIME // 1000, demo=self.demo, **said)
