"""Our service and its peers, in turns, on one machine in one run; writes results.json and the table in README.md.

`python benchmarks/serving/run.py` takes about 25 minutes on two idle cores; it needs wrk (apt install wrk) and installs
the peers into virtual environments of their own (`--venvs`). `--only peers rows ...` runs parts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]
os.environ["OMP_NUM_THREADS"] = "1"

import life
from fuzz import fuzz
from load import Running, free_port, wait_until_up, wrk
from model import ROW, train
from overload import overload
from table import write_table

from common.files import write_whole
from common.provenance import commit, machine

FASTAPI = ["fastapi==0.165.0", "uvicorn[standard]==0.54.0"]
BENTOML = ["serve", "bentoml_service:Boosting", "-p", "{port}"]
XGBOOST = "xgboost-cpu==3.2.0"
PEERS = {  # name: (environment, packages, command)
    "FastAPI by hand": ("fastapi", FASTAPI, ["{python}", "fastapi_by_hand.py"]),
    "LitServe": ("litserve", ["litserve==0.2.19"], ["{python}", "litserve_server.py"]),
    "BentoML": ("bentoml", ["bentoml==1.4.39"], ["{bin}/bentoml", *BENTOML]),
    "MLServer": ("mlserver", ["mlserver==1.7.1"], ["{bin}/mlserver", "start", "{folder}"]),
    "FastAPI, no model": ("fastapi", FASTAPI, ["{python}", "fastapi_no_model.py"]),
    "Starlette, no model": ("fastapi", FASTAPI, ["{python}", "starlette_no_model.py"]),
}
CONNECTIONS = (1, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="each peer is measured once in each; the median counts")
    parser.add_argument("--overload-seconds", type=int, default=60, help="of each overload")
    parser.add_argument("--cases", type=int, default=500, help="of the fuzzer, for each route and phase")
    parser.add_argument("--requests", type=int, default=1_000_000, help="of the memory test")
    parser.add_argument("--venvs", type=Path, default=Path.home() / ".cache" / "espalier-peers")
    parser.add_argument("--only", nargs="*", choices=["peers", *PARTS], default=["peers", *PARTS])
    options = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is not installed: apt install wrk.")
    home = options.venvs / "home"
    model = train(home / "model.ubj")
    target = HERE / "results.json"
    found: dict[str, Any] = json.loads(target.read_text()) if target.exists() else {}
    found["machine"] = machine()
    for part in options.only:
        print(part, flush=True)
        found[part] = peers(options, model) if part == "peers" else PARTS[part](home, model, options)
        found.setdefault("commits", {})[part] = commit()  # parts may be run at different times
        write_whole(target, json.dumps(found, indent=1) + "\n")
    write_table(HERE / "README.md", found)


def peers(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """Requests per second and latency of everybody, in rounds."""
    servers: dict[str, Callable[[], Any]] = {"Espalier": lambda: life.ours(options.venvs / "home", model)}
    for name in PEERS:
        servers[name] = lambda name=name: peer(name, options.venvs, model)
    runs: dict[str, dict[str, list[dict[str, float]]]] = {}
    for _ in range(options.rounds):
        for name, start in servers.items():
            with start() as running:
                wrk(running, 8, 2)  # warm
                for connections in CONNECTIONS:
                    measured = wrk(running, connections, options.seconds)
                    runs.setdefault(name, {}).setdefault(str(connections), []).append(measured)
                    print(f"  {name:20} {connections:3} {measured}", flush=True)
    return {
        name: {
            connections: {key: sorted(one[key] for one in found)[len(found) // 2] for key in found[0]}
            for connections, found in by_connections.items()
        }
        for name, by_connections in runs.items()
    }


@contextmanager
def peer(name: str, venvs: Path, model: Path) -> Iterator[Running]:
    """One peer, started in its environment; the environment is made when it is missing."""
    environment, packages, command = PEERS[name]
    home = venvs / environment
    if not (home / "ready").exists():
        print(f"  installing {' '.join(packages)}", flush=True)
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([home / "bin" / "pip", "install", "-q", *packages, XGBOOST, "numpy<3"], check=True)
        (home / "ready").touch()
    port = free_port()
    folder = venvs / "mlserver-model"
    if name == "MLServer":
        _configure_mlserver(folder, port)
    words = {"bin": home / "bin", "python": home / "bin" / "python", "port": port, "folder": folder}
    process = subprocess.Popen(
        [word.format(**words) for word in command],
        cwd=HERE / "peers",
        env=os.environ
        | {"PORT": str(port), "MODEL": str(model), "BENCH": str(HERE), "PYTHONPATH": str(HERE / "peers")}
        | {"BENTOML_DO_NOT_TRACK": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    path, body = "/predict", json.dumps(ROW)
    if name == "MLServer":
        tensor = {"name": "x", "shape": [1, 20], "datatype": "FP32", "data": list(ROW.values())}
        path, body = "/v2/models/boosting/infer", json.dumps({"inputs": [tensor]})
    running = Running(process, f"http://127.0.0.1:{port}", path, body, {})
    try:
        wait_until_up(running)
        yield running
    finally:
        running.kill()


def _configure_mlserver(folder: Path, port: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shared = {"parallel_workers": 0, "http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    (folder / "settings.json").write_text(json.dumps(shared | {"debug": False, "access_log": False}))
    batching = {"max_batch_size": 32, "max_batch_time": 0.001}
    named = {"name": "boosting", "implementation": "mlserver_runtime.Boosting", **batching}
    (folder / "model-settings.json").write_text(json.dumps(named))


PARTS: dict[str, Callable[[Path, Path, argparse.Namespace], Any]] = {
    "rows": life.rows,
    "sigterm": life.sigterm,
    "swap": life.swap,
    "startup": life.startup,
    "memory": life.memory,
    "overload": overload,
    "fuzz": fuzz,
}

if __name__ == "__main__":
    main()
