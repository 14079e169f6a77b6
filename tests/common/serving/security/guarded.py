"""A small app behind `Observe` and the guard, as `create_app` puts them, with settings that a test chooses."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from fastapi import APIRouter, FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse
from fastapi.testclient import TestClient
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from common.errors import RequestError
from common.serving.metrics import Metrics
from common.serving.observe import Observe, Record
from common.serving.problems import install
from common.serving.security.describe import add_security
from common.serving.security.keyfile import create_key
from common.serving.security.policy import NEEDS
from common.serving.security.setup import secure

ISSUER, AUDIENCE = "https://issuer.example", "espalier"
PREDICT = "/v1/adder/predict"


@dataclass
class Settings:
    environment: str = "development"
    keys_file: Path | None = None
    jwt_issuer: str = ""
    jwt_audience: str = ""
    jwt_jwks: str = ""
    rate_per_s: float = 1000.0
    rate_burst: int = 1000
    cors_origins: str = ""
    metrics_open: bool = True
    redis_url: str = ""
    database_url: str = ""
    tracking_uri: str = ""


def make_app(settings: Settings) -> FastAPI:
    app = FastAPI()
    metrics = Metrics()
    install(app, metrics.rejected)
    app.state.rejected = metrics.rejected
    app.add_middleware(Observe, record=Record(metrics), rejected=metrics.rejected, most_body_bytes=lambda path: 1000)
    gate = secure(app, settings, ["toy.adder", "toy.other"], metrics.rejected)

    async def who(request: Request) -> dict[str, Any]:
        return {"caller": request.state.caller}

    for path in ("/health/live", "/metrics", "/v1/models", "/v1/monitor", "/v1/nobody-thought-of-a-rule"):
        app.get(path)(who)
    for path in (PREDICT, "/v1/other/predict", "/v2/models/toy.adder/infer", "/v1/feedback"):
        app.post(path)(who)

    @app.post("/v1/adder/predict/batch")
    async def echo(request: Request) -> int:
        return len(await request.body())

    @app.get("/")
    async def page() -> HTMLResponse:
        return HTMLResponse("<p>page</p>")

    @app.get("/v1/monitor/broken")
    async def broken() -> None:
        raise ValueError("secret internals")

    own = APIRouter()
    own.get("/steps/{step}")(who)
    own.get("/cases", openapi_extra={NEEDS: ["cases"]})(who)
    own.post("/labels", openapi_extra={NEEDS: ["feedback"]})(who)
    own.get("/rules", openapi_extra={NEEDS: ["predict", "rules"]})(who)

    @own.websocket("/stream")
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_json({"caller": socket.state.caller})
        with suppress(WebSocketDisconnect):
            await socket.send_text(await socket.receive_text())

    @own.websocket("/talk")
    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        with suppress(WebSocketDisconnect):
            while await socket.receive_text():
                try:
                    await socket.state.charge()
                except RequestError as error:
                    await socket.send_json(error.status)
                else:
                    await socket.send_json(200)

    app.include_router(own, prefix="/v1/adder")
    gate.policy.allow_own("toy.adder", "/v1/adder", own.routes)
    document = app.openapi()
    add_security(document, gate)
    return app


@dataclass
class Service:
    """A client and a way to make keys for it."""

    folder: Path
    settings: Settings = field(default_factory=Settings)

    @property
    def keys_file(self) -> Path:
        return self.folder / "keys.json"

    def key(self, *scopes: str, **options: Any) -> dict[str, str]:
        """Headers with a new key."""
        self.settings.keys_file = self.keys_file
        return {"authorization": f"Bearer {create_key(self.keys_file, scopes, **options)[0]}"}

    def client(self) -> TestClient:
        return TestClient(make_app(self.settings), raise_server_exceptions=False)


@dataclass
class Issuer:
    """An OpenID Connect issuer: key pairs, its JWK set, tokens."""

    keys: dict[str, tuple[str, Any]] = field(default_factory=dict)

    def add(self, algorithm: str, key_id: str) -> None:
        made: Any
        match algorithm:
            case "RS256":
                made = rsa.generate_private_key(65537, 2048)
            case "ES256":
                made = ec.generate_private_key(ec.SECP256R1())
            case _:
                made = ed25519.Ed25519PrivateKey.generate()
        self.keys[key_id] = (algorithm, made)

    def jwks(self) -> dict[str, Any]:
        kinds: dict[str, Any] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}
        return {
            "keys": [
                kinds[algorithm].to_jwk(key.public_key(), as_dict=True) | {"kid": key_id, "use": "sig"}
                for key_id, (algorithm, key) in self.keys.items()
            ]
        }

    def token(self, key_id: str = "one", **claims: Any) -> str:
        now = int(time.time())
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "client-7", "iat": now, "exp": now + 300, "scope": "predict:*"}
        body = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        algorithm, key = self.keys[key_id]
        return jwt.encode(body, key, algorithm, headers={"kid": key_id})
