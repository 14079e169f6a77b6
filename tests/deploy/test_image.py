"""The steps of the Dockerfile without Docker: its builder's COPY and RUN in a sandbox, its ENTRYPOINT with its ENV.

bubblewrap gives what the image promises: uid 10001, no capability, a root that the kernel keeps read-only, and the
image's own paths. What comes after COPY and RUN is read from the Dockerfile, so a change there is a change here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from artefacts import DEPLOY, ROOT, compose, dockerfile, only, values
from docker.utils.build import exclude_paths
from processes import address, eventually, free_port, program

VENV, HOME = "/opt/espalier", "/var/lib/espalier"
LIBRARIES_OF_TRAINING = {"torch", "xgboost", "lightgbm", "sklearn", "pandas", "optuna", "matplotlib", "optbinning"}
ANY_ROUTE = "api/2.0/mlflow/experiments/get?experiment_id=0"
TOOLS = {"pip", "setuptools", "wheel", "pytest", "mypy", "ruff", "Cython"}

pytestmark = pytest.mark.skipif(not (ROOT / "finance").is_dir(), reason="the image of finance")


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `docker build .` would send, by Docker's own reading of .dockerignore."""
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    folder = tmp_path_factory.mktemp("context")
    for name in exclude_paths(str(ROOT), patterns):
        if (ROOT / name).is_file() and name != ".dockerignore":  # which the client sends for itself
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def venv(context: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The builder stage, with the arguments of compose.yaml, at the image's path in a sandbox."""
    bwrap = program("bwrap", "bubblewrap")
    venv, build = tmp_path_factory.mktemp("venv"), tmp_path_factory.mktemp("build")
    arguments = values("builder", "ARG") | compose()["services"]["service"]["build"]["args"] | {"VERTICAL": "finance"}

    def filled(text: str) -> str:
        return re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], text)

    sandbox = [bwrap, "--bind", "/", "/", "--dev", "/dev", "--tmpfs", "/opt", "--bind", str(venv), VENV]
    if Path("/opt").is_dir():  # where this machine may keep wheels
        for entry in Path("/opt").iterdir():
            sandbox += ["--ro-bind", str(entry), str(entry)]
    environment = os.environ | {"PATH": f"{sys.prefix}/bin:{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)
    for keyword, rest in dockerfile()["builder"]:
        if keyword == "COPY":
            *sources, target = filled(rest).split()
            for source in sources:
                place = build / target / (source if target == "./" else Path(source).name if target[-1] == "/" else "")
                place.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if (context / source).is_dir() else shutil.copy)(context / source, place)
        if keyword == "RUN":
            step = filled(re.sub(r"--mount=\S+ ", "", rest))
            command = [*sandbox, "--chdir", str(build), "sh", "-c", step]
            run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            assert run.returncode == 0, run.stdout + run.stderr
    return venv


class Container:
    """The runtime stage: its ENV and nothing else, its paths, uid 10001, all but HOME and /tmp read-only."""

    def __init__(self, venv: Path, home: Path) -> None:
        self.home = home
        self.sandbox = [
            *(program("bwrap", "bubblewrap"), "--die-with-parent", "--clearenv", "--cap-drop", "ALL"),
            *("--unshare-user", "--uid", "10001", "--gid", "10001", "--ro-bind", "/", "/", "--dev", "/dev"),
            *("--tmpfs", "/opt", "--ro-bind", str(venv), VENV, "--remount-ro", "/opt"),
            *("--tmpfs", "/var/lib", "--bind", str(home), HOME, "--remount-ro", "/var/lib"),
            *("--tmpfs", "/tmp", "--ro-bind", sys.base_prefix, sys.base_prefix, "--chdir", only("runtime", "WORKDIR")),
        ]
        for name, value in values("runtime", "ENV").items():
            value = value.replace("${VERTICAL}", "finance").replace("${PATH}", "/usr/bin:/bin")
            self.sandbox += ["--setenv", name, value]

    def command(self, arguments: list[str], variables: dict[str, str]) -> list[str]:
        more = [part for name, value in variables.items() for part in ("--setenv", name, value)]
        return [*self.sandbox, *more, *arguments]

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = self.command(list(arguments), variables)
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        command = self.command([*json.loads(only("runtime", "ENTRYPOINT")), *arguments], variables)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def container(venv: Path, bundle: Path, tmp_path: Path) -> Container:
    """With a bundle where a volume would be mounted."""
    home = tmp_path / "home"
    shutil.copytree(bundle.parents[1], home / "bundles")
    return Container(venv, home)


def health(url: str) -> list[str]:
    command: list[str] = json.loads(only("runtime", "HEALTHCHECK").partition(" CMD ")[2])
    return [part.replace("http://127.0.0.1:8000", url) for part in command]


def test_the_context_holds_code_and_nothing_else(context: Path) -> None:
    files = {str(path.relative_to(context)) for path in context.rglob("*") if path.is_file()}
    verticals = {name for name in ("finance", "manufacturing", "healthcare") if (ROOT / name).is_dir()}
    expected = {"common", "deploy", "pyproject.toml", "README.md", "LICENSE"} | verticals
    assert {name.split("/")[0] for name in files} == expected
    assert {name for name in files if name.startswith("deploy/")} == {"deploy/install.sh"}
    assert not [name for name in files if "__pycache__" in name]


def test_it_holds_what_serving_needs_and_no_more(venv: Path) -> None:
    [site] = venv.glob("lib/python3*/site-packages")
    packages = {path.name for path in site.iterdir()}
    assert {"common", "finance", "fastapi", "pg8000", "redis"} <= packages
    assert not packages & (LIBRARIES_OF_TRAINING | TOOLS | {"tests", "benchmarks", "manufacturing", "healthcare"})
    assert not [path for path in site.rglob("tests") if path.is_dir()]
    assert not [path.name for path in (venv / "bin").iterdir() if path.name.startswith("pip")]
    assert (
        sum(path.stat().st_size for path in venv.rglob("*") if path.is_file()) < 850e6
    )  # numba and LLVM: 115 MB, ONNX Runtime: 60 MB


def test_it_does_not_start_in_production_without_a_key(container: Container) -> None:
    refused = container.run("espalier", "serve")
    assert refused.returncode == 2
    assert refused.stderr.startswith("espalier: /var/lib/espalier/keys.json: the keys file cannot be read")


def test_it_serves_from_a_read_only_root_and_ends_with_nothing_lost(
    container: Container, asked: list[dict[str, Any]], started: list[subprocess.Popen[str]]
) -> None:
    assert container.run("sh", "-c", "id -u").stdout == "10001\n"
    for place in ("/etc", "/opt/espalier", "/var/lib", "/usr", "/"):
        assert "Read-only file system" in container.run("touch", f"{place}/x").stderr
    made = container.run("espalier", "key", "create", "--scope", "predict:*", "--name", "shop")
    assert made.returncode == 0, made.stderr
    service = container.start("--port", "0")
    started.append(service)
    url = address(service)
    assert container.run(*health(url)).returncode == 0
    assert container.run(*health(f"http://127.0.0.1:{free_port()}")).returncode != 0
    predict = f"{url}/v1/credit_scoring/predict"
    assert httpx.post(predict, json=asked[0]).status_code == 401
    headers = {"authorization": f"Bearer {made.stdout.strip()}"}
    answers = [httpx.post(predict, json=one, headers=headers) for one in asked[:5]]
    assert [answer.status_code for answer in answers] == [200] * 5

    # Docker's STOPSIGNAL goes to the service itself, not to the sandbox around it.
    process = psutil.Process(service.pid).children(recursive=True)[-1]
    process.send_signal(signal.Signals[only("runtime", "STOPSIGNAL")])
    _, log = service.communicate(timeout=40)
    assert "Traceback" not in log
    with closing(sqlite3.connect(container.home / "audit.db")) as database:
        kept = {row[0] for row in database.execute("select id from decisions")}
    assert kept == {answer.headers["x-decision-id"] for answer in answers}


def test_it_fetches_its_bundle_from_the_registry_of_compose(
    container: Container, bundle: Path, tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    service = compose()["services"]["mlflow"]
    port = free_port()
    command = [part.replace("/mlflow/", f"{tmp_path}/").replace("=5000", f"={port}") for part in service["command"]]
    hosts = service["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"].replace("5000", str(port))
    environment = os.environ | service["environment"] | {"MLFLOW_SERVER_ALLOWED_HOSTS": hosts}
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "text": True}
    server = subprocess.Popen([f"{sys.prefix}/bin/{command[0]}", *command[1:]], env=environment, cwd=tmp_path, **quiet)
    started.append(server)
    uri = f"http://127.0.0.1:{port}"

    def status(host: str) -> int:
        try:
            return httpx.get(
                f"{uri}/api/2.0/mlflow/experiments/get?experiment_id=0", headers={"host": host}
            ).status_code
        except httpx.TransportError:
            return 0

    eventually(lambda: status(f"mlflow:{port}") == 200, server)
    assert status("attacker.example.org") == 403
    code = (
        "import sys; from pathlib import Path; from common.bundle import load_bundle;"
        "from common.training.registry import register;"
        "print(register(load_bundle(Path(sys.argv[1])), 'candidate'))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(bundle)],
        env=os.environ | {"ESPALIER_TRACKING_URI": uri, "ESPALIER_HOME": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    shutil.rmtree(container.home / "bundles")
    assert container.run("espalier", "key", "create", "--scope", "predict:*").returncode == 0
    registry = {"ESPALIER_TRACKING_URI": uri, "ESPALIER_BUNDLES": run.stdout.splitlines()[-1]}
    serving = container.start("--port", "0", **registry)
    started.append(serving)
    ready = httpx.get(f"{address(serving)}/health/ready")
    assert ready.json()["systems"]["finance.credit_scoring"] == "ready"


def test_the_dockerfile_says_how_it_is_run() -> None:
    runtime = dockerfile()["runtime"]
    assert only("runtime", "USER") == "10001:10001"
    assert values("runtime", "ENV")["ESPALIER_ENVIRONMENT"] == "production"
    assert json.loads(only("runtime", "VOLUME")) == [HOME, "/tmp"]
    assert ("COPY", f"--from=builder {VENV} {VENV}") in runtime
    assert list(dockerfile())[-1] == "service"  # what is built without --target
    assert not re.search(r"apt-get|gcc|build-essential", (DEPLOY / "Dockerfile").read_text())


def test_hadolint_finds_nothing() -> None:
    run = subprocess.run([f"{sys.prefix}/bin/hadolint", str(DEPLOY / "Dockerfile")], capture_output=True, check=False)
    assert run.returncode == 0, run.stdout.decode()
