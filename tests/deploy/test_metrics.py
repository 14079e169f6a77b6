"""Rules and dashboards against a real Prometheus that scraped a real service."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
import yaml
from artefacts import DEPLOY, ROOT, panels, rules
from processes import address, eventually, free_port, program

from common.audit.recorder import MOST_ROWS
from common.errors import DeadlineExceeded, Overloaded
from common.monitoring.report import AlarmKind
from common.serving.limits import Limits
from common.serving.problems import problem_of
from common.serving.security.errors import Forbidden, TooManyRequests, Unauthenticated
from common.system import find

VARIABLES = {"$job": "espalier-.+", "$system": ".+", "$__rate_interval": "10s", "$__range": "1h"}
SELECTOR = re.compile(r"\b((?:espalier|process)_\w+|up)(\{[^}]*\})?")
LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
GROUPING = re.compile(r"\b(?:by|on|ignoring|without) \(([^)]*)\)")


def filled(query: str) -> str:
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query


QUERIES = [(f"{name}: {panel['title']}", filled(t["expr"])) for name, panel in panels() for t in panel["targets"]]
RULES = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]
ALERTS = [rule for rule in rules() if "alert" in rule]


class Watched:
    """A Prometheus with the rules of deploy/, asked."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, query: str) -> list[dict[str, Any]]:
        answer = httpx.post(f"{self.url}/api/v1/query", data={"query": query}).json()
        assert answer["status"] == "success", (query, answer)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found


@pytest.fixture(scope="module")
def watched(
    bundle: Path,
    asked: list[dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
    started: list[subprocess.Popen[str]],
) -> Iterator[Watched]:
    """A service with traffic, refusals and labels, scraped as prometheus.yml says but for target and pace."""
    prometheus = program("prometheus", "prometheus")
    home = tmp_path_factory.mktemp("home")
    environment = os.environ | {"ESPALIER_HOME": str(home), "ESPALIER_ENVIRONMENT": "development"}
    command = [sys.executable, "-m", "common", "serve", "finance", "--bundle", str(bundle), "--port", "0"]
    log = (home / "log").open("w")
    service = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    started.append(service)
    url = address(service)

    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / "prometheus" / name) for name in config["rule_files"]]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [url.removeprefix("http://")]
    file, port = home / "prometheus.yml", free_port()
    file.write_text(yaml.safe_dump(config))
    options = [f"--config.file={file}", f"--storage.tsdb.path={home}/tsdb", f"--web.listen-address=127.0.0.1:{port}"]
    watcher = subprocess.Popen([prometheus, *options], stdout=subprocess.DEVNULL, stderr=log, text=True)
    started.append(watcher)
    found = Watched(f"http://127.0.0.1:{port}")

    predict = f"{url}/v1/credit_scoring/predict"
    for one in asked[:3]:
        httpx.post(predict, json=one).raise_for_status()
    httpx.post(predict, json={})
    rows = [asked[i % len(asked)] for i in range(300)]
    answer = httpx.post(f"{predict}/batch", json={"rows": rows})
    labels = [{"decision": f"{answer.headers['x-decision-id']}.{i}", "label": i % 2} for i in range(300)]
    httpx.post(f"{url}/v1/feedback", json={"labels": labels}).raise_for_status()
    tensors = httpx.get(f"{url}/v2/models/credit_scoring").json()["inputs"]
    inputs = [{**tensor, "shape": [1], "data": [asked[0][tensor["name"]]]} for tensor in tensors]
    httpx.post(f"{url}/v2/models/credit_scoring/infer", json={"inputs": inputs}).raise_for_status()

    def complete() -> bool:
        httpx.post(predict, json=asked[0])  # what `rate` needs: counters that grow
        try:
            return bool(found.ask("espalier_live_metric")) and bool(found.ask("espalier:predict_slow:ratio_rate5m"))
        except httpx.TransportError:
            return False

    eventually(complete, watcher)
    yield found
    log.close()


@pytest.mark.parametrize(("where", "query"), QUERIES + RULES)
def test_every_metric_and_label_is_one_that_the_service_exposes(watched: Watched, where: str, query: str) -> None:
    found = SELECTOR.findall(query)
    for metric, selector in found:
        labels = LABEL.findall(re.sub(r'"[^"]*"', "", selector))
        named = ", ".join(f'{label}!=""' for label in labels)
        assert watched.ask(f"{metric}{{{named}}}"), (metric, labels)
    for grouped in GROUPING.findall(query):
        for label in re.split(r",\s*", grouped):
            # a label that no series of these metrics has would silently be grouped away
            assert any(watched.ask(f'{metric}{{{label}!=""}}') for metric, _ in found), label
    assert found or "espalier:" in query or "ALERTS" in query


# What is empty in a healthy service: nothing is missing, no 10 s are enough for two counts of a histogram's growth.
EMPTY_WHEN_WELL = {"Missing inputs"}


@pytest.mark.parametrize(("where", "query"), QUERIES)
def test_every_panel_shows_something(watched: Watched, where: str, query: str) -> None:
    if where.partition(": ")[2] not in EMPTY_WHEN_WELL:
        assert watched.ask(query)
    else:
        watched.ask(query)


def test_the_routes_of_predictions_are_matched(watched: Watched) -> None:
    [pattern] = {found for rule in rules() for found in re.findall(r'route=~"([^"]+infer)"', rule["expr"])}
    matched = {one["metric"]["route"] for one in watched.ask(f'espalier_request_seconds_count{{route=~"{pattern}"}}')}
    assert {route.rpartition("/")[2] for route in matched} == {"predict", "batch", "infer"}


def test_a_service_that_is_well_raises_no_critical_alert(watched: Watched) -> None:
    firing = {one["metric"]["alertname"] for one in watched.ask('ALERTS{severity="critical", alertstate="firing"}')}
    assert firing == set()


def expression(name: str) -> str:
    [found] = [rule["expr"] for rule in ALERTS if rule["alert"] == name]
    return " ".join(found.split())


def named(label: str) -> set[str]:
    """The values that alerts look for."""
    patterns = [found for rule in ALERTS for found in re.findall(rf'\b{label}=~?"([^"]+)"', rule["expr"])]
    return {value for pattern in patterns for value in pattern.split("|")}


def test_reasons_and_kinds_are_those_of_the_code() -> None:
    refusals = [
        Overloaded("full"),
        DeadlineExceeded("late"),
        Unauthenticated("Bearer"),
        Forbidden("no scope", expected="another"),
        TooManyRequests(1, 1, 1),
    ]
    reasons = {problem_of(refusal).type.rpartition(":")[2] for refusal in refusals}
    assert named("reason") == reasons
    assert named("kind") == set(get_args(AlarmKind))


def test_limits_are_those_of_the_code() -> None:
    assert expression("EspalierQueueLong").endswith(f"> {Limits().queued_rows // 4}")
    assert expression("EspalierAuditQueueFull").endswith(f"> {MOST_ROWS // 2}")


def test_the_acceptance_threshold_is_the_system_s() -> None:
    pattern = r'system="(.+?)", metric="(.+?)"\}\) < ([\d.]+)'
    [(system, metric, bound)] = re.findall(pattern, expression("EspalierBelowAcceptance"))
    assert f"valid_{metric} >= {bound}" in find(system).acceptance


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_tells_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    notes, name = alert["annotations"], alert["alert"]
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert notes["runbook_url"].endswith(f"#{name.lower()}")
    assert re.search(rf"^### {name}\n\n\S", (ROOT / "docs" / "deploy.md").read_text(), re.MULTILINE)
    tested = "".join(file.read_text() for file in (DEPLOY / "prometheus" / "tests").glob("*.yml"))
    assert re.search(rf"alertname: {name}$\n +exp_alerts", tested, re.MULTILINE), "no unit test in which it fires"


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("test", "rules", "tests/alerts.yml", "tests/days.yml")],
    ids=["config", "rules"],
)
def test_promtool_accepts_them(arguments: tuple[str, ...]) -> None:
    command = [program("promtool", "prometheus"), *arguments]
    # On a busy machine promtool sometimes (once in some tens of runs of this suite) found nothing at all in a test that
    # spans days, and found it when asked again; rules that are wrong are wrong every time.
    for _ in range(8):
        run = subprocess.run(command, cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False)
        if run.returncode == 0:
            break
    assert run.returncode == 0, run.stdout + run.stderr
