"""The conformance suite: what every system must do, ours and third parties'."""

from __future__ import annotations

from importlib import import_module

from common.bundle import load_bundle, open_predictor
from common.config import build_config
from common.errors import EspalierError
from common.system import System


def check_system(system: System) -> list[str]:
    """Train the offline preset and check the bundle, batching, bad requests and the trivial floor.

    Returns the names of the checks that passed; raises `EspalierError` at the first that fails.
    """
    passed = []
    config_type = system.load("config")
    config = build_config(config_type, import_module(config_type.__module__).PRESETS, "sample", [])
    bundle = load_bundle(system.load("train")(config).path)
    passed.append("trains offline")
    predictor = open_predictor(bundle)
    passed.append("bundle round-trips")
    requests = [predictor.request.model_validate(pair["request"]) for pair in bundle.examples()]
    together = [answer.model_dump() for answer in predictor.predict(requests)]
    alone = [predictor.predict([request])[0].model_dump() for request in requests]
    _require(system, together == alone, "a batch answers differently from its rows alone")
    passed.append("batch equals singles")
    try:
        predictor.request.model_validate({"no such field": 1})
    except ValueError:
        passed.append("bad request refused")
    else:
        _require(system, False, "an unknown field is accepted")
    report, _ = system.load("evaluate")(bundle)
    _require(system, report.metrics["auc"].low > report.floor["auc"], "it does not beat its trivial floor")
    passed.append("beats the floor")
    return passed


def _require(system: System, condition: bool, what: str) -> None:
    if not condition:
        raise EspalierError(what, where=system.name)
