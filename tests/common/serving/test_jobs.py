"""Jobs: accepted, told of, kept, ended; and whatever work and clients can do wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fastapi.testclient import TestClient
from toy_jobs import LIMITS, SYSTEM, Counter

from common.serving.app import create_app
from common.serving.jobs.worker import ASKED, READY, frame

COUNTS = "/v1/counter/counts"


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(create_app("toy", systems=[SYSTEM], predictors={"toy.counter": Counter()})) as client:
        yield client


def post(client: TestClient, **fields: Any) -> str:
    reply = client.post(COUNTS, json=fields)
    assert reply.status_code == 202, reply.text
    assert reply.headers["location"] == f"{COUNTS}/{reply.json()['id']}"
    return str(reply.headers["location"])


def ended(client: TestClient, address: str) -> Any:
    until = time.monotonic() + 10
    while (reply := client.get(address)).status_code == 202 and time.monotonic() < until:
        assert reply.headers["retry-after"] == "1"
        time.sleep(0.02)
    return reply


def events(text: str) -> list[tuple[int, str, Any]]:
    found = []
    for block in text.split("\n\n"):
        lines = [line.partition(": ") for line in block.split("\n")]
        fields = {name: value for name, _, value in lines if name}
        if "event" in fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


def test_a_job_is_accepted_told_of_and_kept(client: TestClient) -> None:
    address = post(client, steps=2)
    reply = ended(client, address)
    assert reply.status_code == 200
    assert reply.json()["total"] == 2
    assert client.get(address).json() == reply.json()
    [state] = client.get(COUNTS).json()
    assert (state["status"], state["progress"], state["cut_short"], state["error"]) == ("done", {"total": 2}, "", "")
    assert state["created"] <= state["started"] <= state["ended"]
    told = events(client.get(f"{address}/events").text)
    assert [kind for _, kind, _ in told] == ["waiting", "running", "progress", "progress", "end"]
    assert [number for number, _, _ in told] == [1, 2, 3, 4, 5]
    assert told[-1][2]["result"] == reply.json()
    assert told[-1][2]["state"]["status"] == "done"


def test_a_worker_does_one_job_after_the_other(client: TestClient) -> None:
    first, second = (ended(client, post(client)).json()["pid"] for _ in range(2))
    assert first == second


def test_events_come_while_it_works_and_go_on_where_the_reader_left(client: TestClient) -> None:
    address = post(client, steps=6, pause=0.02)
    with client.stream("GET", f"{address}/events") as reply:
        assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert "content-length" not in reply.headers
        whole = events("".join(reply.iter_text()))
    assert [number for number, _, _ in whole] == list(range(1, 10))
    kept = events(client.get(f"{address}/events").text)
    assert kept == whole[-LIMITS.events :]
    assert events(client.get(f"{address}/events", headers={"Last-Event-ID": "7"}).text) == whole[-2:]
    done = client.get(f"{address}/events", headers={"Last-Event-ID": "9"})
    assert (done.status_code, done.content) == (204, b"")  # a browser would come back for ever otherwise
    for nonsense in ("-1", "x", "9" * 5000, "²", "999"):
        assert events(client.get(f"{address}/events", headers={"Last-Event-ID": nonsense.encode()}).text) == kept


def test_a_silent_job_has_a_heartbeat(client: TestClient) -> None:
    address = post(client, steps=1, pause=0.7)
    assert client.get(f"{address}/events").text.count(": still there\n\n") >= 2


def test_more_than_may_wait_is_refused(client: TestClient) -> None:
    first = [post(client, steps=1000, pause=0.01) for _ in range(3)]
    assert [client.get(address).json()["place"] for address in first[1:]] == [1, 2]
    reply = client.post(COUNTS, json={})
    assert reply.status_code == 503
    assert 1 <= int(reply.headers["retry-after"]) <= 10
    assert "too many jobs wait" in reply.json()["detail"]
    assert client.delete(first[1]).status_code == 204
    assert client.get(first[2]).json()["place"] == 1
    assert client.delete(first[0]).status_code == 204
    assert client.delete(first[2]).status_code == 204
    assert ended(client, post(client)).status_code == 200


def test_a_cancelled_job_is_gone_and_its_worker_free(client: TestClient) -> None:
    address = post(client, steps=1000, pause=0.02, then="stubborn")  # does not listen, so its process is killed
    while client.get(address).json()["status"] != "running":
        time.sleep(0.01)
    assert client.delete(address).status_code == 204
    for reply in (client.get(address), client.get(f"{address}/events"), client.delete(address)):
        assert reply.status_code == 410
        assert reply.json()["detail"] == "the job was cancelled; ask again."
    assert client.get(COUNTS).json() == []
    assert ended(client, post(client)).json()["total"] == 3


def test_a_job_may_be_ended_with_the_best_it_has(client: TestClient) -> None:
    address = post(client, steps=1000, pause=0.02)
    while not client.get(address).json()["progress"]:
        time.sleep(0.01)
    assert client.delete(f"{address}?keep=true").status_code == 202
    reply = ended(client, address)
    assert reply.json()["stopped"]
    assert 0 < reply.json()["total"] < 1000
    [state] = client.get(COUNTS).json()
    assert (state["status"], state["cut_short"]) == ("done", "it was ended by the client")


@pytest.mark.parametrize(
    ("steps", "then", "status", "says"),
    [
        (0, "bug", 500, "the job failed; tell the operator its id."),
        (0, "crash", 500, "the job's process ended: got ended by SIGSEGV; tell the operator its id."),
        (0, "exit", 500, "the job's process ended: got ended with 3; tell the operator its id."),
        (0, "large", 500, "the job failed; tell the operator its id."),
        (0, "nonsense", 500, "the work gave no such result as it should."),
        (7, "refuse", 422, "steps: this cannot be counted: got 7, expected fewer."),
    ],
)
def test_work_that_fails_fails_alone(client: TestClient, steps: int, then: str, status: int, says: str) -> None:
    address = post(client, steps=steps, then=then)
    reply = ended(client, address)
    assert (reply.status_code, reply.json()["detail"]) == (status, says)
    assert reply.headers["content-type"] == "application/problem+json"
    last = events(client.get(f"{address}/events").text)[-1]
    assert (last[1], last[2]["state"]["status"], last[2]["result"]) == ("end", "failed", None)
    assert ended(client, post(client, then="print")).json()["total"] == 3  # and what is printed disturbs nothing


def test_what_was_found_before_a_crash_is_the_result(client: TestClient) -> None:
    address = post(client, steps=2, then="crash")
    assert ended(client, address).json()["total"] == 2
    assert client.get(COUNTS).json()[0]["cut_short"] == "the worker ended by SIGSEGV"


def test_a_job_that_does_not_end_is_ended(client: TestClient) -> None:
    started = time.monotonic()
    found = ended(client, post(client, steps=1, seconds=0.2, then="hang"))
    assert found.json()["total"] == 1
    assert client.get(COUNTS).json()[0]["cut_short"] == "the time was over"
    nothing = ended(client, post(client, steps=0, seconds=0.2, then="hang"))
    assert nothing.status_code == 504
    assert time.monotonic() - started < 5
    assert client.post(COUNTS, json={"seconds": 31}).status_code == 422
    assert client.post(COUNTS, json={"seconds": 0}).status_code == 422


def test_the_oldest_results_make_room(client: TestClient) -> None:
    addresses = [post(client) for _ in range(1)]
    for _ in range(LIMITS.kept):
        ended(client, addresses[-1])
        addresses.append(post(client))
    assert ended(client, addresses[-1]).status_code == 200
    assert client.get(addresses[0]).status_code == 410
    assert "no longer kept" in client.get(addresses[0]).json()["detail"]
    assert client.get(addresses[1]).status_code == 200


def test_unknown_ids_are_told_apart_from_nothing(client: TestClient) -> None:
    for id in ("x", "%00", "a" * 2000, "..%2f..", "é"):
        for method, path in (("GET", f"{COUNTS}/{id}"), ("GET", f"{COUNTS}/{id}/events"), ("DELETE", f"{COUNTS}/{id}")):
            reply = client.request(method, path)
            assert reply.status_code == 404, (method, path)


def test_a_short_job_is_answered_within_the_request(client: TestClient) -> None:
    assert client.post("/v1/counter/at-once", json={"steps": 4}).json()["total"] == 4
    assert client.post("/v1/counter/at-once", json={"then": "refuse"}).status_code == 422
    assert client.post("/v1/counter/at-once", json={"steps": 0, "then": "crash"}).status_code == 500
    assert client.get(COUNTS).json() == []


def test_metrics_tell_of_jobs(client: TestClient) -> None:
    ended(client, post(client))
    ended(client, post(client, steps=0, then="bug"))
    text = client.get("/metrics").text
    assert 'espalier_jobs{kind="toy.counts",state="kept"} 2.0' in text
    assert 'espalier_jobs{kind="toy.counts",state="running"} 0.0' in text
    assert 'espalier_jobs_ended_total{how="done",kind="toy.counts"} 1.0' in text
    assert 'espalier_jobs_ended_total{how="failed",kind="toy.counts"} 1.0' in text
    assert 'espalier_job_seconds_count{kind="toy.counts",what="ran"} 2.0' in text


def test_the_end_of_the_service_ends_its_processes() -> None:
    with TestClient(create_app("toy", systems=[SYSTEM], predictors={"toy.counter": Counter()})) as client:
        pid = ended(client, post(client)).json()["pid"]
        post(client, steps=1000, pause=0.02)
        assert psutil.pid_exists(pid)
        started = time.monotonic()
    assert time.monotonic() - started < 2
    assert not psutil.pid_exists(pid)


def test_openapi_describes_the_routes(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"][COUNTS]) == {"get", "post"}
    assert set(document["paths"][f"{COUNTS}/{{id}}"]) == {"get", "delete"}
    assert "text/event-stream" in document["paths"][f"{COUNTS}/{{id}}/events"]["get"]["responses"]["200"]["content"]


def test_a_worker_whose_service_is_gone_ends_without_a_word() -> None:
    start = [sys.executable, "-c", "from common.serving.jobs.worker import main; main('toy_work:count')"]
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    with subprocess.Popen(
        start,
        env=os.environ | {"PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as worker:
        assert worker.stdin
        assert worker.stdout
        assert worker.stderr
        assert worker.stdout.read(len(frame(READY))) == frame(READY)
        worker.stdout.close()
        worker.stdin.write(frame(ASKED, b"{}"))
        worker.stdin.flush()  # and stays open
        assert worker.wait(20) == 0
        assert worker.stderr.read() == b""
