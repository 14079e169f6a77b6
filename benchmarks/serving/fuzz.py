"""Schemathesis against the real services of all verticals, each with every system trained on its sample preset."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from argparse import Namespace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# Left out: "a request that the schema allows is answered with 2xx". A label for an unknown decision is none of these.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,negative_data_rejection,unsupported_method,allow_header_conformance,ignored_auth,"
    "missing_required_header"
)


def fuzz(home: Path, model: Path, options: Namespace) -> dict[str, Any]:
    """Cases, and what was found, by vertical."""
    verticals = sorted(path.parent.name for path in ROOT.glob("*/service.py"))
    return {vertical: fuzz_service(vertical, home / "fuzz", options.cases) for vertical in verticals}


def fuzz_service(vertical: str, home: Path, cases: int) -> dict[str, Any]:
    """At most `cases` per route and phase; `report` has what Schemathesis says when it finds something."""
    home.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"ESPALIER_HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment |= {"ESPALIER_RATE_PER_S": "1e6", "ESPALIER_RATE_BURST": "1000000", "ESPALIER_DATABASE_URL": ""}
    environment |= {"ESPALIER_KEYS_FILE": str(home / "keys.json"), "ESPALIER_REDIS_URL": ""}
    espalier = [sys.executable, "-m", "common"]

    def said(*words: str) -> str:
        return subprocess.run([*espalier, *words], env=environment, check=True, capture_output=True, text=True).stdout

    systems = [system["name"] for system in json.loads(said("list", "--json")) if system["name"].startswith(vertical)]
    for system in systems:
        if not list((home / "bundles" / system).glob("*")):
            said("train", system, "--preset", "sample")
    found = re.search(r"esp_\S+", said("key", "create", "--scope", "admin", "--scope", "predict:*", "--name", "fuzz"))
    assert found
    with (home / f"{vertical}.log").open("w+") as log:
        service = subprocess.Popen(
            [*espalier, "serve", vertical, "--port", "0"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert service.stdout
        try:
            greeting = re.search(r"http://\S+:\d+", service.stdout.readline())
            assert greeting, log.seek(0) or log.read()
            fuzzer = [Path(sys.executable).with_name("schemathesis"), "run", f"{greeting[0]}/openapi.json"]
            options = ["-H", f"X-API-Key: {found[0]}", "--checks", CHECKS, "-n", str(cases), "--seed", "1"]
            if not systems:  # a service with nothing to serve says 503 here, as it should
                options += ["--exclude-path-regex", "/health/ready$"]
            started = time.perf_counter()
            run = subprocess.run(
                [*fuzzer, *options, "--continue-on-failure", "--warnings", "off", "--no-color"],
                cwd=home,
                capture_output=True,
                text=True,
            )
            seconds = time.perf_counter() - started
            with urllib.request.urlopen(f"{greeting[0]}/health/live") as answer:
                alive = answer.status == 200
        finally:
            service.terminate()
            service.wait(60)
        log.seek(0)
        tracebacks = log.read().count('"traceback"')
    counted = re.search(r"([\d,]+) generated", run.stdout)
    return {
        "systems": len(systems),
        "cases": int(counted[1].replace(",", "")) if counted else 0,
        "failures": run.returncode,
        "tracebacks": tracebacks,
        "alive": alive,
        "seconds": round(seconds, 1),
        "report": "" if run.returncode == 0 else run.stdout[-20_000:] + run.stderr[-2_000:],
    }
