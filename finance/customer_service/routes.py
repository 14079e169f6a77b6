"""Dialogues by HTTP and WebSocket, and the page to talk to one; mounted under the system, for its scope `predict`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path as File
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse
from pydantic import ValidationError

from common.config import settings
from common.errors import RequestError
from common.serving.problems import invalid_body, problem_of
from common.serving.scripted import ScriptedPage
from common.serving.threads import Threads
from finance.customer_service.desk import EXAMPLE, Answer, BankSettings, Begin, Desk, Message, Understands
from finance.customer_service.sessions import LIFETIME, open_sessions
from finance.customer_service.understood import Language

logger = logging.getLogger("espalier.customer_service")

MOST_SOCKETS = 500
"""Open at once, of one process."""
THREADS, MOST_WAITING = 32, 256
"""A bank that is slow holds up nobody but its dialogues."""
Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,40}$", description="as POST gave it", examples=[EXAMPLE["id"]])]
GONE: dict[int | str, dict[str, Any]] = {404: {"description": "No such session of this credential, or it has expired"}}
BUSY: dict[int | str, dict[str, Any]] = {
    409: {"description": "Another message is being answered, or the session is further on"}
}


def dialogue_routes(predictor: Callable[[], Understands]) -> APIRouter:
    """The router of the system. Raises `GraphError` for task graphs that the model checker refuses."""
    now = settings()
    desk = Desk(predictor, open_sessions(now), BankSettings(), production=now.environment == "production")

    threads, page = Threads("dialogue", THREADS, MOST_WAITING), ScriptedPage(File(__file__).with_name("chat"))

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
        request: Request,
        response: Response,
        lang: Annotated[Language | None, Query(description="of the page; else as the browser prefers")] = None,
    ) -> HTMLResponse:
        return page.answer(request, lang, response.headers)

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
