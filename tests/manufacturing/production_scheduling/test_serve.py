"""The predictor and the routes: examples that work as they stand, plans as jobs, repair, explanations, bad input."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from fastapi.testclient import TestClient
from hall import HALL
from learnt import config

from common.bundle import Bundle, load_bundle
from common.config import settings
from common.console.form import fields_of
from common.console.words import speaker
from common.demo import follow_jobs
from common.serving.app import create_app
from manufacturing.production_scheduling import SYSTEM
from manufacturing.production_scheduling.answers import Method, Plan, Request, Status
from manufacturing.production_scheduling.checker import check
from manufacturing.production_scheduling.examples import PLANT
from manufacturing.production_scheduling.gantt import policy
from manufacturing.production_scheduling.problem import Problem, Schedule
from manufacturing.production_scheduling.serve import SchedulingPredictor
from manufacturing.production_scheduling.train import train

ROOT = "/v1/production_scheduling"
PLANS = f"{ROOT}/plans"
ORIGIN = {"origin": "2026-01-05T06:00:00+01:00"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    """Trained on a small simulated plant."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ESPALIER_HOME", str(tmp_path_factory.mktemp("home")))
        settings.cache_clear()
        yield load_bundle(train(config()).path)
    settings.cache_clear()


@pytest.fixture(scope="module")
def predictor(bundle: Bundle) -> SchedulingPredictor:
    return SchedulingPredictor.load(bundle)


@pytest.fixture(scope="module")
def client(bundle: Bundle) -> Iterator[TestClient]:
    with TestClient(create_app("manufacturing", {SYSTEM.name: bundle.path}, systems=[SYSTEM])) as client:
        yield client


def solved(client: TestClient, **fields: Any) -> tuple[str, Any]:
    reply = client.post(PLANS, json={"problem": PLANT, "seconds": 5, **fields})
    assert reply.status_code == 202, reply.text
    address, until = reply.headers["location"], time.monotonic() + 40
    while (found := client.get(address)).status_code == 202 and time.monotonic() < until:
        time.sleep(0.02)
    return address, found


def planned(client: TestClient, problem: Any) -> Any:
    reply = client.post(f"{ROOT}/predict", json={"problem": problem})
    assert reply.status_code == 200, reply.text
    return reply.json()


def changed(**fields: Any) -> Any:
    return {**copy.deepcopy(PLANT), **fields}


def test_every_example_works_as_it_stands(client: TestClient) -> None:
    seen = {}
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        if path.startswith(ROOT) and "post" in operations:
            content = operations["post"]["requestBody"]["content"]["application/json"]
            reply = client.post(path, json=content["example"])
            seen[path.removeprefix(ROOT)] = reply.status_code
    assert seen == {
        "/predict": 200,
        "/predict/batch": 200,
        "/plans": 202,
        "/check": 200,
        "/explain": 200,
        "/repair": 200,
        "/what-if": 200,
        "/read": 200,
    }
    for state in client.get(PLANS).json():
        client.delete(f"{PLANS}/{state['id']}")


@pytest.mark.parametrize("method", ["best", "policy", "mwkr", "spt", "atc", "edd", "fifo", "setup"])
def test_plans_at_once_are_feasible_and_the_same_every_time(predictor: SchedulingPredictor, method: Any) -> None:
    problem = Problem.model_validate(HALL)
    one, two = (predictor.predict([Request(problem=problem, method=method)])[0] for _ in range(2))
    assert one == two
    assert one.schedule
    verdict = check(problem, one.schedule)
    assert verdict.feasible
    assert (one.objective, one.figures) == (verdict.objective, verdict.figures)
    assert one.bound <= one.objective
    assert one.gap == pytest.approx((one.objective - one.bound) / one.objective)
    assert f"The objective is {one.objective:,}" in one.sentences[0]


def test_the_best_method_is_no_worse_than_any(predictor: SchedulingPredictor) -> None:
    problem = Problem.model_validate(PLANT)
    found: list[Plan] = predictor.predict(
        [Request(problem=problem, method=method) for method in ("best", "policy", "mwkr", "atc")]
    )
    assert found[0].objective == min(plan.objective or 0 for plan in found)


def test_a_chosen_risk_leaves_a_reserve(predictor: SchedulingPredictor) -> None:
    problem = Problem.model_validate(PLANT)
    plain, robust, careful = predictor.predict(
        [Request(problem=problem, method="mwkr", risk=risk) for risk in (None, 0.3, 0.05)]
    )
    assert plain.risk is None
    assert plain.times == []
    assert robust.risk
    assert careful.risk
    assert robust.problem
    assert robust.schedule
    assert check(robust.problem, robust.schedule).feasible
    assert robust.risk.low <= 0.3
    assert careful.risk.level > robust.risk.level
    assert careful.figures["makespan"] > plain.figures["makespan"]
    assert [one.operation for one in robust.times] == [one.operation for one in robust.schedule.assignments]
    assert all(one.q10 <= one.q50 <= one.q90 for one in robust.times)


def test_deadlines_that_dispatching_misses_are_told(client: TestClient) -> None:
    problem = changed()
    problem["jobs"][0]["deadline"] = 175
    problem["jobs"][1]["deadline"] = 190
    plan = planned(client, problem)
    assert (plan["status"], plan["schedule"], plan["objective"]) == ("unknown", None, None)
    assert "after its deadline at" in plan["sentences"][0]
    assert "`plans`" in plan["sentences"][-1]


def test_a_plan_is_searched_shown_and_taken_along(client: TestClient) -> None:
    address, found = solved(client)
    plan = found.json()
    assert found.status_code == 200
    assert plan["status"] == "optimal"
    assert plan["gap"] == 0
    assert check(Problem.model_validate(plan["problem"]), Schedule.model_validate(plan["schedule"])).feasible
    assert plan["objective"] <= planned(client, PLANT)["objective"]
    assert plan["history"][-1]["objective"] == plan["objective"]
    assert plan["model"] == found.headers["x-model-version"]
    assert len(found.headers["x-decision-id"]) > 10
    text = client.get(f"{address}/events").text
    assert text.count("event: progress") >= 1
    assert '"source": "dispatching"' in text
    page = client.get(f"{address}/gantt", params=ORIGIN)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers.get_list("content-security-policy") == [policy()]
    assert page.headers["x-frame-options"] == "DENY"
    assert client.get(f"{address}/gantt.png").content[:8] == b"\x89PNG\r\n\x1a\n"
    assert b"<svg" in client.get(f"{address}/gantt.svg").content
    table = client.get(f"{address}/plan.csv")
    assert table.headers["content-disposition"] == 'attachment; filename="plan.csv"'
    assert len(table.text.splitlines()) == 1 + len(plan["schedule"]["assignments"])
    calendar = client.get(f"{address}/calendar.ics", params={**ORIGIN, "of": "operator", "name": "millers 1"})
    assert calendar.text.count("BEGIN:VEVENT") == 4
    assert client.get(f"{address}/calendar.ics").status_code == 422
    assert client.get(f"{address}/calendar.ics", params={"origin": "2026-01-05T06:00:00"}).status_code == 422
    unknown = client.get(f"{address}/calendar.ics", params={**ORIGIN, "name": "press"})
    assert unknown.json()["detail"].startswith("name: no such machine: got 'press', expected one of saw, mill A")
    assert client.get(f"{address}/gantt", params={"origin": "2026-01-05T06:00:00"}).status_code == 422
    client.delete(address)
    for view in ("", "/events", "/gantt", "/gantt.png", "/plan.csv"):
        assert client.get(f"{address}{view}").status_code == 410
    assert client.get(f"{PLANS}/nothing/gantt").status_code == 404


def test_a_robust_plan_is_searched(client: TestClient) -> None:
    _, found = solved(client, seconds=1.5, risk=0.2)
    plan = found.json()
    assert plan["risk"]["promised"] == 0.2
    assert check(Problem.model_validate(plan["problem"]), Schedule.model_validate(plan["schedule"])).feasible
    assert len(plan["times"]) == len(plan["schedule"]["assignments"])


def test_a_search_can_be_ended_with_its_best(client: TestClient) -> None:
    jobs = [
        {
            "name": f"J{j}",
            "operations": [{"durations": {f"M{(j * 7 + k * 3) % 8}": 10 + (j * k) % 50}} for k in range(8)],
        }
        for j in range(30)
    ]
    problem = {"machines": [{"name": f"M{m}"} for m in range(8)], "jobs": jobs, "objective": {"flow": 1}}
    reply = client.post(PLANS, json={"problem": problem, "seconds": 60})
    address = reply.headers["location"]
    while not (state := client.get(address).json())["progress"]:
        time.sleep(0.02)
    assert state["progress"]["objective"] > 0
    assert client.get(f"{address}/gantt").status_code == 409
    started = time.monotonic()
    assert client.delete(f"{address}?keep=true").status_code == 202
    while (found := client.get(address)).status_code == 202:
        time.sleep(0.02)
    assert time.monotonic() - started < 8
    assert found.json()["status"] == "feasible"


def test_an_impossible_problem_has_its_conflict(client: TestClient) -> None:
    problem = changed()
    for job in problem["jobs"][:2]:
        job["deadline"] = 200
    problem["machines"][1]["maintenance"] = [{"start": 10, "end": 190, "name": "overhaul"}]
    _, found = solved(client, problem=problem)
    plan = found.json()
    assert (plan["status"], plan["schedule"]) == ("infeasible", None)
    assert "no plan" in plan["sentences"][0]
    told = client.post(f"{ROOT}/explain", json={"problem": problem, "seconds": 20}).json()
    assert told["conflict"]["feasible"] is False
    assert told["conflict"]["minimal"]
    assert any("must be done by 200" in text for text in told["conflict"]["constraints"])
    assert told["sentences"][1:] == told["conflict"]["constraints"]


def test_a_plan_is_explained(client: TestClient) -> None:
    plan = planned(client, PLANT)
    told = client.post(f"{ROOT}/explain", json={"problem": PLANT, "schedule": plan["schedule"]}).json()
    path = told["critical_path"]
    assert path[-1]["end"] == plan["figures"]["makespan"]
    assert all(one["end"] <= two["start"] for one, two in pairwise(path))
    assert told["bottleneck"] == told["uses"][0]
    assert {delay["job"] for delay in told["delays"]} == set(plan["late"])
    assert told["sentences"][0].startswith(f"The plan ends at {plan['figures']['makespan']}")
    one = {"problem": PLANT, "schedule": plan["schedule"], "jobs": ["order 4"]}
    assert [delay["job"] for delay in client.post(f"{ROOT}/explain", json=one).json()["delays"]] == ["order 4"]


def test_a_breakdown_is_repaired_with_few_changes(client: TestClient) -> None:
    plan = planned(client, PLANT)
    event = {"kind": "breakdown", "machine": "mill A", "start": 70, "end": 130}
    body = {"problem": PLANT, "schedule": plan["schedule"], "events": [event], "now": 40, "seconds": 1}
    reply = client.post(f"{ROOT}/repair", json=body)
    assert reply.status_code == 200, reply.text
    found = reply.json()
    verdict = check(Problem.model_validate(found["problem"]), Schedule.model_validate(found["schedule"]))
    assert verdict.feasible
    assert not [
        one
        for one in found["schedule"]["assignments"]
        if one["machine"] == "mill A" and one["start"] < 130 and one["end"] > 70
    ]
    assert found["share"] == pytest.approx(len(found["moved"]) / len(plan["schedule"]["assignments"]))
    assert "operations moved" in found["sentences"][-1]
    again = client.post(f"{ROOT}/repair", json={**body, "events": [{**event, "machine": "press"}]})
    assert again.status_code == 422
    assert "press" in again.json()["detail"]
    nonsense = client.post(f"{ROOT}/repair", json={**body, "events": [{"kind": "earthquake"}]})
    assert nonsense.status_code == 422
    assert "earthquake" in nonsense.json()["detail"]


def test_two_problems_are_compared(client: TestClient) -> None:
    body = {"problem": PLANT, "changed": changed(operators=[{"name": "millers", "count": 2}]), "seconds": 2}
    found = client.post(f"{ROOT}/what-if", json=body).json()
    assert found["after"]["objective"] <= found["before"]["objective"]
    assert found["figures"]["makespan"]["after"] == found["after"]["figures"]["makespan"]
    assert any("jobs end at another time" in text for text in found["sentences"])


def test_a_wrong_plan_is_refused_in_sentences(client: TestClient) -> None:
    plan = planned(client, PLANT)
    schedule = copy.deepcopy(plan["schedule"])
    schedule["assignments"][0]["start"] += 1
    reply = client.post(f"{ROOT}/check", json={"problem": PLANT, "schedule": schedule}).json()
    assert reply["feasible"] is False
    assert all(text[0].isupper() and text.endswith(".") for text in reply["violations"])
    told = client.post(f"{ROOT}/explain", json={"problem": PLANT, "schedule": schedule})
    assert told.status_code == 422
    assert "the plan does not fit the problem" in told.json()["detail"]


BAD: dict[str, tuple[Callable[[Any], None], str]] = {
    "a cycle": (
        lambda p: p["jobs"][0].update(
            operations=[
                {"name": "a", "durations": {"saw": 1}, "after": ["b"]},
                {"name": "b", "durations": {"saw": 1}, "after": ["a"]},
            ]
        ),
        "problem: job 'order 1': the precedence is cyclic",
    ),
    "no such machine": (
        lambda p: p["jobs"][1]["operations"][0].update(durations={"press": 5}),
        "problem: job 'order 2', operation 'saw': machine 'press' does not exist",
    ),
    "no time": (
        lambda p: p["jobs"][0]["operations"][0].update(durations={"saw": 0}),
        "problem: job 'order 1', operation 'saw': the duration on machine 'saw' is 0",
    ),
    "less than no time": (
        lambda p: p["jobs"][0]["operations"][0].update(durations={"saw": -3}),
        "the duration on machine 'saw' is -3",
    ),
    "due before its release": (
        lambda p: p["jobs"][2].update(release=400),
        "problem: job 'order 3' is due at 320, before its release at 400",
    ),
    "an empty calendar": (
        lambda p: p["machines"][0].update(calendar=[]),
        "machine 'saw' has an empty calendar",
    ),
    "an infeasible window": (
        lambda p: p["jobs"][0].update(deadline=60),
        "problem: job 'order 1' has an infeasible window",
    ),
    "a deadline that is text": (lambda p: p["jobs"][0].update(deadline="soon"), "problem.jobs[0].deadline"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_problems_are_one_sentence(client: TestClient, name: str) -> None:
    spoil, says = BAD[name]
    problem = changed()
    spoil(problem)
    for path, more in (("predict", {}), ("plans", {"seconds": 1}), ("check", {"schedule": {"assignments": []}})):
        reply = client.post(f"{ROOT}/{path}", json={"problem": problem, **more})
        assert reply.status_code == 422
        assert reply.headers["content-type"] == "application/problem+json"
        detail = reply.json()["detail"]
        assert says in detail
        assert "\n" not in detail
        assert len(detail) < 500


def test_instance_files_are_read(client: TestClient, predictor: SchedulingPredictor) -> None:
    text = "2 2\n0 3 1 2\n1 2 0 4\n"
    found = client.post(f"{ROOT}/read", json={"text": text}).json()
    assert [job["name"] for job in found["jobs"]] == ["J1", "J2"]
    cut = client.post(f"{ROOT}/read", json={"text": "2 2\n0 3 1 2\n1 2 0"})
    assert cut.status_code == 422
    assert cut.json()["detail"].startswith("text: ")
    assert "line 3" in cut.json()["detail"]
    for content in (text.encode(), json.dumps(PLANT).encode()):
        assert predictor.predict([predictor.request_of(content)])[0].status in ("optimal", "feasible")


def test_instance_files_are_scored_from_the_command_line(bundle: Bundle, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    files = {
        "standard.txt": "2 2\n0 3 1 2\n1 2 0 4\n",
        "taillard.tai": "2 2\nTimes\n3 2\n2 4\nMachines\n1 2\n2 1\n",
        "flexible.fjs": "2 2 1\n2 1 1 3 2 1 2 2 3\n1 1 2 4\n",
        "plant.json": json.dumps(PLANT),
        "cut.txt": "2 2\n0 3 1 2\n1 2 0",
        "notes.md": "no instance",
    }
    for name, content in files.items():
        (source / name).write_text(content)
    command = [sys.executable, "-m", "common", "score", str(bundle.path), str(source), str(tmp_path / "plans.jsonl")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    rows = {row["file"]: row for row in map(json.loads, (tmp_path / "plans.jsonl").read_text().splitlines())}
    assert sorted(rows) == ["cut.txt", "flexible.fjs", "plant.json", "standard.txt", "taillard.tai"]
    assert "line 3" in rows["cut.txt"]["error"]
    assert rows["standard.txt"]["objective"] == rows["taillard.tai"]["objective"] == 7
    schedule = Schedule.model_validate_json(rows["plant.json"]["schedule"])
    assert check(Problem.model_validate(PLANT), schedule).objective == rows["plant.json"]["objective"]


def test_the_service_imports_neither_solver_nor_pandas(bundle: Bundle) -> None:
    """Of OR-Tools, and pandas with it, only the processes of jobs know; the examples of the routes are made too."""
    code = f"""
import sys
from pathlib import Path
from manufacturing.production_scheduling import SYSTEM
from common.serving.app import create_app
from fastapi.testclient import TestClient
with TestClient(create_app("manufacturing", {{SYSTEM.name: Path({str(bundle.path)!r})}}, systems=[SYSTEM])) as client:
    example = client.get("/openapi.json").json()["paths"]["{ROOT}/repair"]["post"]["requestBody"]
    reply = client.post("{ROOT}/repair", json=example["content"]["application/json"]["example"])
    assert reply.status_code == 200, reply.text
print([name for name in ("ortools", "pandas", "torch", "lightgbm", "matplotlib", "sklearn") if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.splitlines()[-1:] == ["[]"], run.stdout + run.stderr


def test_ten_thousand_operations_are_planned_within_their_limit(client: TestClient) -> None:
    names = [f"M{m}" for m in range(20)]
    jobs = [
        {"name": f"J{j}", "operations": [{"durations": {names[(j + 7 * k) % 20]: 1 + (j * k) % 97}} for k in range(20)]}
        for j in range(500)
    ]
    problem = {"machines": [{"name": name} for name in names], "jobs": jobs}
    address, found = solved(client, problem=problem, seconds=1)
    plan = found.json()
    assert plan["status"] in ("feasible", "optimal")
    assert len(plan["schedule"]["assignments"]) == 10_000
    assert plan["seconds"] < 4  # a busy machine; alone it is 1.05
    assert client.get(f"{address}/gantt").status_code == 200
    client.delete(address)


def test_the_demo_and_the_chart_under_the_policy_of_the_service(
    chromium: Any, serve: Callable[..., str], bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = f"""
from pathlib import Path
from manufacturing.production_scheduling import SYSTEM
from common.serving.app import create_app
from common.serving.run import run_app
run_app(create_app("manufacturing", {{SYSTEM.name: Path({str(bundle.path)!r})}}, systems=[SYSTEM]), port=0)
"""
    url = serve(code, ESPALIER_HOME=str(tmp_path), ESPALIER_CONSOLE="false")
    with httpx.Client(base_url=url, timeout=30) as client:
        address, _ = solved(client)  # type: ignore[arg-type]
    follow_jobs(url, httpx.get(f"{url}/openapi.json").json(), f"{ROOT}/")
    said = capsys.readouterr().err
    for word in (f"POST {url}{PLANS}", "'source': 'dispatching'", "'status': 'optimal'", "to look at: ", "/gantt"):
        assert word in said
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    tab, complaints = context.new_page(), []
    tab.on("console", lambda said: complaints.append(said.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(f"{url}{address}/gantt?origin=2026-01-05T06:00:00Z")
    tab.locator("dl div").first.wait_for()
    assert "Makespan" in tab.locator("dl").inner_text()
    assert [text for text in complaints if "favicon" not in text and "404" not in text] == []
    context.close()


def test_the_console_speaks_chinese_and_draws_the_plan() -> None:
    fields = fields_of(Request.model_json_schema())
    say = speaker("zh", SchedulingPredictor)
    words = [field.label for field in fields] + list(get_args(Method)) + list(get_args(Status))
    words += [name for name in Plan.model_fields if name not in ("model", "simulated")]
    words += [SYSTEM.short_name.replace("_", " "), SYSTEM.summary, SYSTEM.risk]
    assert [word for word in words if say(word) == word] == []
    plan = Plan.model_json_schema()["properties"]["schedule"]
    assert plan["x-espalier-view"] == "gantt"
