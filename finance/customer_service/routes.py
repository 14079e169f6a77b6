"""Dialogues by HTTP and WebSocket, and the page to talk to one; mounted under the system, for its scope `predict`.

The bank is the one at `ESPALIER_BANK_URL`. Without it, a bank in memory with two made-up customers answers, outside
production only, and every answer says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from datetime import date
from functools import cache
from pathlib import Path as File
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import APIRouter, Path, Query, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.config import settings
from common.errors import Overloaded, RequestError
from common.serving.problems import invalid_body, problem_of
from finance.customer_service.bank import Bank, MemoryBank
from finance.customer_service.bank_http import HttpBank
from finance.customer_service.check_graph import checked
from finance.customer_service.dialogue import Dialogue
from finance.customer_service.graph import FOLDER, load_tasks
from finance.customer_service.masking import mask
from finance.customer_service.sessions import LIFETIME, Session, Sessions, open_sessions
from finance.customer_service.state import Outcome
from finance.customer_service.understood import Language, Understood
from finance.customer_service.walk import Services

logger = logging.getLogger("espalier.customer_service")

MOST_CHARACTERS = 2000
MOST_SOCKETS = 500
"""Open at once, of one process."""
THREADS, MOST_WAITING = 32, 256
T = TypeVar("T")
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
    task_graphs: File | None = Field(None, description="folder of task graphs; they are model-checked at the start")


class NoBank(RequestError):
    """In production the bank must be named."""

    status = 503


class Understands(Protocol):
    """What the routes need of the system's predictor."""

    def understand(self, text: str) -> Understood:
        """What a message means."""

    def lookup(self, text: str, language: Language) -> str | None:
        """An answer from documents with its sources, or None."""


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


Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,40}$", description="as POST gave it", examples=[EXAMPLE["id"]])]
GONE: dict[int | str, dict[str, Any]] = {404: {"description": "No such session of this credential, or it has expired"}}
BUSY: dict[int | str, dict[str, Any]] = {
    409: {"description": "Another message is being answered, or the session is further on"}
}


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
        services = Services(
            self.bank, lambda text, language: predictor().lookup(text, language), mask, lambda: date.today()
        )
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


class Threads:
    """Threads of its own for what blocks: a bank that is slow holds up nobody but its dialogues."""

    def __init__(self) -> None:
        self._pool, self._waiting = ThreadPoolExecutor(THREADS, "dialogue"), 0
        self.close = self._pool.shutdown

    async def run(self, act: Callable[..., T], *arguments: Any) -> T:
        """`act(*arguments)`; raises `Overloaded` when too many wait."""
        if self._waiting >= MOST_WAITING:
            raise Overloaded("too many messages are being answered", fix=f"retry after {Overloaded.retry_after} s")
        self._waiting += 1
        try:
            context = copy_context()  # with the model that `own_route` has pinned
            return await asyncio.get_running_loop().run_in_executor(self._pool, context.run, act, *arguments)
        finally:
            self._waiting -= 1


def dialogue_routes(predictor: Callable[[], Understands]) -> APIRouter:
    """The router of the system. Raises `GraphError` for task graphs that the model checker refuses."""
    now = settings()
    desk = Desk(predictor, open_sessions(now), BankSettings(), production=now.environment == "production")

    threads = Threads()

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(threads.close)
        desk.close()

    router = APIRouter(lifespan=lifespan)

    @router.post("/sessions", status_code=201, summary="Begin a dialogue.", responses={201: _example(EXAMPLE | HELLO)})
    async def begin(body: Begin, request: Request, response: Response) -> Answer:
        answer = await threads.run(desk.begin, request.state.caller, body.language)
        response.headers["location"] = f"{request.url.path}/{answer.id}"
        return answer

    @router.post("/sessions/{id}/messages", summary="Say something, and get the answer.", responses={**GONE, **BUSY})
    async def say(id: Id, body: Message, request: Request) -> Answer:
        return await threads.run(desk.say, id, request.state.caller, body)

    @router.get("/sessions/{id}", summary="The last answer again.", responses=GONE)
    async def last(id: Id, request: Request) -> Answer:
        return await threads.run(desk.last, id, request.state.caller)

    @router.delete("/sessions/{id}", status_code=204, summary="End and forget a dialogue.", responses=GONE)
    async def forget(id: Id, request: Request, response: Response) -> Response:
        await threads.run(desk.sessions.delete, id, request.state.caller)
        return Response(status_code=204, headers=dict(response.headers))

    @router.get("/chat", summary="A page to talk to it.", response_class=HTMLResponse)
    async def chat(
        response: Response, lang: Annotated[Language, Query(description="of the page")] = "en"
    ) -> HTMLResponse:
        headers = {**response.headers, "content-security-policy": _policy()}
        return HTMLResponse(_page().replace("@lang@", lang), headers=headers)

    _add_socket(router, desk, threads)
    return router


HELLO = {"turn": 0, "texts": ["Hello, I am the bank's assistant, a program."], "awaits": ""}


def _add_socket(router: APIRouter, desk: Desk, threads: Threads) -> None:
    open_: set[WebSocket] = set()

    @router.websocket("/sessions/{id}/ws")
    async def socket(id: str, socket: WebSocket) -> None:
        """Messages in, answers or problems out, one for each, in order; the first is the last answer."""
        await socket.accept()
        if len(open_) >= MOST_SOCKETS:
            await socket.close(1013, "too many sockets; retry later")
            return
        open_.add(socket)
        owner = socket.state.caller
        try:
            await socket.send_text((await threads.run(desk.last, id, owner)).model_dump_json())
            while True:
                text = await asyncio.wait_for(socket.receive_text(), LIFETIME / 1000)
                await socket.send_text(await _answered(desk, threads, socket, id, owner, text))
        except RequestError as error:
            await socket.send_text(problem_of(error).model_dump_json())
            await socket.close(1008, type(error).__name__)
        except TimeoutError:
            await socket.close(1000, "nothing was said")
        except (WebSocketDisconnect, KeyError):  # KeyError: a binary frame has no text
            pass
        finally:
            open_.discard(socket)


async def _answered(desk: Desk, threads: Threads, socket: WebSocket, id: str, owner: str, text: str) -> str:
    """An answer, or the problem instead of one: the socket stays open."""
    try:
        if charge := socket.scope["state"].get("charge"):
            await charge()
        try:
            message = Message.model_validate_json(text)
        except ValidationError as error:
            raise invalid_body(error, Message.model_json_schema()) from None
        return (await threads.run(desk.say, id, owner, message)).model_dump_json()
    except RequestError as error:
        return problem_of(error).model_dump_json()
    except Exception as error:
        logger.exception("a message failed")
        return problem_of(error, "none").model_dump_json()


def _example(example: Any) -> dict[str, Any]:
    return {"content": {"application/json": {"example": example}}}


@cache
def _page() -> str:
    folder = File(__file__).parent
    script = (folder / "chat.js").read_text(encoding="utf-8")
    return (folder / "chat.html").read_text(encoding="utf-8").replace("@script@", script)


@cache
def _policy() -> str:
    """Nothing but the page's own script and its calls to this service."""
    script = (File(__file__).parent / "chat.js").read_text(encoding="utf-8")
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; connect-src 'self'; "
        "img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
