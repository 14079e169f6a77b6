"""A real service in production mode, and bytes sent to it as they are."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from test_slot import make_bundle

from common.serving.security.keyfile import create_key

SERVE = """
import sys
from pathlib import Path
from toy_system import SYSTEM, OTHER
from common.serving.app import create_app
from common.serving.run import run_app
run_app(create_app("toy", {"toy.adder": Path(sys.argv[1])}, systems=[SYSTEM, OTHER]), port=0)
"""
PREDICT, BATCH, INFER = "/v1/adder/predict", "/v1/adder/predict/batch", "/v2/models/adder/infer"
GOOD = b'{"age": 20}'


class Service:
    def __init__(self, folder: Path) -> None:
        keys = folder / "keys.json"
        self.keys = [
            create_key(keys, ("predict:*", "feedback"), name=name, rate=1e6, burst=1_000_000)[0] for name in ("a", "b")
        ]
        self.admin = create_key(keys, ("admin",), name="admin", rate=1e6, burst=1_000_000)[0]
        info = folder / "plugin" / "toy-0.dist-info"  # as if the toy were installed
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 0\n")
        (info / "entry_points.txt").write_text("[espalier.systems]\ntoy.adder = toy_system:SYSTEM\n")
        path = os.pathsep.join([str(info.parent), str(Path(__file__).parent)])
        self.log_file = folder / "log"
        with self.log_file.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVE, str(make_bundle(folder / "bundle", 1))],
                env=os.environ
                | {"PYTHONPATH": path, "ESPALIER_ENVIRONMENT": "production"}
                | {"ESPALIER_KEYS_FILE": str(keys), "ESPALIER_HOME": str(folder / "home")},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout
        match = re.search(r"http://127\.0\.0\.1:\d+", self.process.stdout.readline())
        assert match, self.log()
        self.url = match[0]
        self.folder = folder

    def log(self) -> str:
        return self.log_file.read_text()

    def raw(self, data: bytes, answers: int = 1) -> list[tuple[int, dict[str, str], bytes]]:
        """Send bytes as they are; what comes back, nothing for a connection that is closed without a word."""
        at = urlsplit(self.url)
        found = []
        with socket.create_connection((at.hostname or "", at.port or 0), timeout=20) as connection:
            with suppress(OSError):  # refused before its end
                connection.sendall(data)
            stream = connection.makefile("rb")
            for _ in range(answers):
                try:
                    first = stream.readline()
                except OSError:
                    break
                if not first:
                    break
                headers = {}
                while line := stream.readline().strip():
                    name, _, value = line.decode().partition(": ")
                    headers[name.lower()] = value
                found.append((int(first.split()[1]), headers, stream.read(int(headers.get("content-length", 0)))))
        return found

    def post(self, body: bytes, path: str = PREDICT, more: str = "", kind: str = "application/json") -> bytes:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {self.keys[0]}\r\nContent-Type: {kind}\r\n{more}"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def head(self, lines: str) -> bytes:
        return f"{lines}\r\nHost: x\r\nX-API-Key: {self.keys[0]}\r\nContent-Type: application/json\r\n".encode()


def refused(service: Service, answer: tuple[int, dict[str, str], bytes], *statuses: int) -> str:
    """The problem of a refusal, held to what every refusal is held to."""
    status, headers, body = answer
    assert status in statuses, (status, body[:300])
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-request-id"]
    problem = json.loads(body)
    assert problem["status"] == status
    assert 10 < len(problem["detail"]) < 800
    text = body.decode()
    for secret in (str(service.folder), "/work", "Traceback", "site-packages", *service.keys):
        assert secret not in text
    return str(problem["detail"])
