"""The conformance suite: what every system must do, ours and third parties'.

`check_system(SYSTEM)` runs all of it, as `espalier check` does. `CHECKS` has the single checks by name, for a test
parametrised over them that shares one `Subject`. After scikit-learn's `estimator_checks`.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import wraps
from importlib import import_module
from pathlib import Path
from time import perf_counter
from traceback import extract_tb
from typing import Any

from common.bundle import load_bundle
from common.bundle.selftest import first_difference
from common.config import build_config
from common.errors import BundleError, ConformanceError, EspalierError
from common.sandbox import Subject, no_network, open_again, train_again
from common.system import System

NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
TELL_OF_THE_RUN = {"CARD.md", "examples.jsonl", "metrics.json"}  # a version or a duration may stand in them
BATCH = 33  # one over a power of two, because kernels treat the last rows apart
THREADS, CALLS = 4, 60
ROUNDING = 1e-9
Check = Callable[[Subject], None]
CHECKS: dict[str, Check] = {}


def listed(check: Check) -> Check:
    """Put a check on the list; whatever fails in it becomes a sentence that names system and check."""
    name = check.__name__.removeprefix("check_").replace("_", " ")

    @wraps(check)
    def run(subject: Subject) -> None:
        try:
            check(subject)
        except Exception as error:
            at = extract_tb(error.__traceback__)[-1]
            bug = f"{type(error).__name__}: {error} (in {Path(at.filename).name}, line {at.lineno})"
            told = str(error) if isinstance(error, EspalierError) else bug
            raise ConformanceError(told, where=f"{subject.system.name}, check {name!r}") from error

    CHECKS[name] = run
    return run


def require(condition: bool, what: str, **facts: Any) -> None:
    """Raise `ConformanceError` unless `condition` holds."""
    if not condition:
        raise ConformanceError(what, **facts)


@listed
def check_record(subject: Subject) -> None:
    """The record is complete: a name, words for people, rooms that import, presets that its config accepts."""
    system = subject.system
    require(bool(NAME.fullmatch(system.name)), "its name is no name", got=system.name, expected="vertical.system")
    for field in ("summary", "task", "risk"):
        require(bool(getattr(system, field).strip()), f"{field} is empty", fix="say it in one line")
    optional = [room for room in ("bench", "objective") if getattr(system, room)]
    for room in ("config", "train", "evaluate", "predictor", *optional):
        require(callable(system.load(room)), f"its {room} cannot be called", got=getattr(system, room))
    config = system.load("config")
    presets = import_module(config.__module__).PRESETS
    names = sorted(presets)
    require(sorted(system.presets) == names, "presets differ", got=sorted(system.presets), expected=names)
    for name in ("sample", *presets):
        build_config(config, presets, name, [])


@listed
def check_cards(subject: Subject) -> None:
    """Every data set it names has a card with licence, citation, pitfalls, described columns and sourced numbers."""
    from common.data.card import load_card

    for dataset in subject.system.datasets:
        card = load_card(dataset)
        missing = [field for field in ("title", "task", "licence", "citation", "pitfalls") if not getattr(card, field)]
        missing += [f"description of {column.name}" for column in card.columns if not column.description]
        missing += [f"source of {p.model}'s {p.metric}" for p in card.published if not (p.source and p.protocol)]
        require(not missing, f"the card of {dataset} is incomplete", got=f"no {', no '.join(missing[:5])}")


@listed
def check_trains_offline(subject: Subject) -> None:
    """The preset `sample` trains without a network and leaves golden examples that can be told apart."""
    system = subject.bundle.manifest.system
    require(system == subject.system.name, "the bundle is another system's", got=system)
    different = len({json.dumps(pair["response"]) for pair in subject.bundle.examples()})
    require(different > 1, "no two golden examples are answered differently, so a change of order would not show")


@listed
def check_deterministic(subject: Subject) -> None:
    """The same seed gives the same model in a new process: weights, fitted state, split and golden requests."""
    again = load_bundle(subject.in_new_process(train_again))
    first, second = ({n: e.sha256 for n, e in b.manifest.files.items()} for b in (subject.bundle, again))
    names = sorted((first.keys() | second.keys()) - TELL_OF_THE_RUN)
    differing = [name for name in names if first.get(name) != second.get(name)]
    if [pair["request"] for pair in again.examples()] != subject.examples:
        differing.append("golden requests")
    require(not differing, "training twice gives two models", got=", ".join(differing), fix="seed all and sort sets")


@listed
def check_round_trip(subject: Subject) -> None:
    """A copy of the bundle, opened elsewhere by a new process, gives the golden answers."""
    subject.in_new_process(open_again, str(subject.copy()))


@listed
def check_corruption(subject: Subject) -> None:
    """One flipped byte in any file of the bundle's folder is refused."""
    copy = subject.copy()
    for file in sorted(path for path in copy.rglob("*") if path.is_file()):
        content = file.read_bytes()
        flipped = bytearray(content or b"0")
        flipped[len(flipped) // 2] ^= 1
        file.write_bytes(flipped)
        with suppress(BundleError):
            load_bundle(copy)
            require(False, "one flipped byte is not noticed", got=file.name, fix="let `save_bundle` write every file")
        file.write_bytes(content)


@listed
def check_no_network(subject: Subject) -> None:
    """Neither loading nor predicting opens a connection."""
    with no_network():
        subject.system.load("predictor").load(subject.bundle)
        subject.answers(subject.examples)


@listed
def check_batch(subject: Subject) -> None:
    """N rows together are answered exactly as N rows alone, in their order."""
    order = random.Random(0).choices(range(len(subject.examples)), k=BATCH)
    together = subject.answers([subject.examples[i] for i in order])
    require(len(together) == BATCH, "a batch has another number of answers", got=len(together), expected=BATCH)
    wrong = [row for row, i in enumerate(order) if together[row] != subject.alone[i]]
    require(not wrong, "a row is answered differently in a batch", got=f"rows {wrong[:5]}")
    require(subject.predictor.predict([]) == [], "an empty batch has an answer", expected="no answers")


@listed
def check_threads(subject: Subject) -> None:
    """Several threads, each with another request, get the answers that one gets."""
    rows = [call % len(subject.examples) for call in range(CALLS)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns as often as they can, so that they meet
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            found = list(pool.map(lambda row: subject.answers([subject.examples[row]])[0], rows))
    finally:
        sys.setswitchinterval(interval)
    same = found == [subject.alone[row] for row in rows]
    require(same, "threads that share the predictor get other answers", fix="keep no state between calls")


@listed
def check_schemas(subject: Subject) -> None:
    """Request and response tell their fields as JSON Schema."""
    for side in ("request", "response"):
        schema = getattr(subject.predictor, side).model_json_schema()
        require(bool(schema.get("properties")), f"the {side} has no fields", got=json.dumps(schema)[:100])


@listed
def check_service(subject: Subject) -> None:
    """Served, alone and as a batch, the golden requests get the golden answers."""
    golden = [pair["response"] for pair in subject.bundle.examples()]
    bodies = [("predict", json.dumps(example)) for example in subject.examples]
    replies = subject.post([*bodies, ("predict/batch", json.dumps({"rows": subject.examples}))])
    for reply, expected in zip(replies, [*golden, {"rows": golden}], strict=True):
        require(reply.status_code == 200, "a golden request is refused", got=reply.text[:300])
        difference = first_difference(expected, reply.json())
        require(difference is None, "the service answers otherwise (field, golden, served)", got=difference)


@listed
def check_bad_requests(subject: Subject) -> None:
    """A wrong request is refused through the service: 422, problem+json, with field, got and expected."""
    good, sent = subject.examples[0], []
    for what, field, body in subject.bad_requests():
        sent.append((what, field, "predict", body))
        sent.append((f"{what} in a batch", f"rows[1].{field}", "predict/batch", {"rows": [good, body]}))
    *replies, half = subject.post([*((route, json.dumps(body)) for *_, route, body in sent), ("predict", '{"x": ')])
    for (what, field, *_), reply in zip(sent, replies, strict=True):
        require(reply.status_code == 422, f"{what} is not refused", got=f"HTTP {reply.status_code}", expected=422)
        media_type = reply.headers["content-type"]
        require(media_type == "application/problem+json", f"{what} gets no problem+json", got=media_type)
        errors = [error for error in reply.json().get("errors", []) if error["field"].startswith(field)]
        told = any(error["got"] and error["expected"] for error in errors)
        require(told, f"{what} is not told field, got and expected", got=reply.json()["detail"])
    require(half.status_code == 400, "half a JSON text is not refused", got=f"HTTP {half.status_code}", expected=400)


@listed
def check_report(subject: Subject) -> None:
    """Its report is of this system, calls simulated data simulated, and every interval holds its value."""
    report, simulated = subject.report, subject.bundle.manifest.simulated
    require(report.system == subject.system.name, "the report is another system's", got=report.system)
    require(report.simulated == simulated, "simulated, says the report", got=report.simulated, expected=simulated)
    for name, metric in report.metrics.items():
        holds = metric.low - ROUNDING <= metric.value <= metric.high + ROUNDING
        inside = f"{metric.low:.4g} to {metric.high:.4g}"
        require(holds, f"{name} lies outside of its interval", got=f"{metric.value:.4g}", expected=inside)


@listed
def check_floor(subject: Subject) -> None:
    """The headline, the first metric of its report that has a trivial floor, beats it with its whole interval.

    The others need not: a base rate is calibrated to perfection, and who raises every alarm misses nothing.
    """
    from common.evaluation.report import better

    metrics, floors = subject.report.metrics, subject.report.floor
    name = next((name for name in metrics if name in floors), "")
    require(name != "", "no metric stands beside a trivial floor", got=", ".join(metrics))
    metric, floor = metrics[name], floors[name]
    beaten = all(better(name, end, floor) for end in (metric.low, metric.high))
    told = f"{metric.low:.4g} to {metric.high:.4g}"
    require(beaten, f"{name} does not beat its trivial floor", got=told, expected=f"better than {floor:.4g}")


def check_system(system: System, on_check: Callable[[str], None] = lambda name: None) -> dict[str, float]:
    """Tell `on_check` the name of every check and run it; returns the seconds each took.

    Raises `ConformanceError` at the first that fails; its sentence names system and check.
    """
    seconds = {}
    with Subject(system) as subject:
        for name, check in CHECKS.items():
            on_check(name)
            started = perf_counter()
            check(subject)
            seconds[name] = perf_counter() - started
    return seconds
