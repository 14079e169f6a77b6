from __future__ import annotations

import pytest
from fastapi import APIRouter

from common.errors import UsageError
from common.serving.security.policy import ADMIN, ANY, NEEDS, OPEN, Policy

POLICY = Policy(["toy.adder"])
ADDER = frozenset({"predict:adder", "predict:toy.adder", "predict:*", "admin"})


@pytest.mark.parametrize(
    ("method", "path", "scopes"),
    [
        ("GET", "/health/live", OPEN),
        ("HEAD", "/health/live", OPEN),
        ("POST", "/v1/adder/predict", ADDER),
        ("POST", "/v1/toy.adder/predict", ADDER),
        ("POST", "/v2/models/toy.adder/versions/7/infer", ADDER),
        ("GET", "/v2/models/anything/ready", ANY),
        ("GET", "/console/assets/a/b.js", frozenset({"predict:*", "admin"})),
        ("WS", "/console/queue", frozenset({"predict:*", "admin"})),
    ],
)
def test_rules(method: str, path: str, scopes: frozenset[str]) -> None:
    assert POLICY.needed(method, path) == scopes


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/adder/predict"),
        ("PATCH", "/health/live"),
        ("POST", "/v1/unknown/predict"),
        ("POST", "/v1/adder/swap"),
        ("POST", "/v1/adder/predict/"),
        ("POST", "//v1/adder/predict"),
        ("POST", "/V1/adder/predict"),
        ("POST", "/v1/adder/predict\n"),
        ("POST", "/v1/./adder/predict"),
        ("POST", "/v2/models/../adder/infer"),
        ("POST", "/v2/models/adder/versions/1/2/infer"),
        ("GET", "/v2/models/a/b"),
        ("GET", "/consoles"),
        ("GET", "/health/live/../../v1/models"),
        ("GET", ""),
        ("OPTIONS", "/v1/adder/predict"),
        ("WS", "/v1/adder/predict"),
    ],
)
def test_what_no_rule_names_is_closed(method: str, path: str) -> None:
    assert POLICY.needed(method, path) == ADMIN


def test_the_first_rule_that_fits_decides() -> None:
    rules = (("GET", "/a/{}", "metrics"), ("GET", "/a/b", "open"), ("GET", "/c", "open"), ("GET", "/c", "any"))
    policy = Policy([], rules)
    assert policy.needed("GET", "/a/b") == {"metrics", "admin"}
    assert policy.needed("GET", "/c") == OPEN


def policy_of(scopes: list[str] | str) -> Policy:
    """Of a system whose own route says that it needs these."""
    own, policy = APIRouter(), Policy(["toy.adder"])
    own.get("/own", openapi_extra={NEEDS: scopes})(lambda: None)
    policy.allow_own("toy.adder", "/v1/adder", own.routes)
    return policy


def test_a_route_that_names_no_scope_needs_predict() -> None:
    assert policy_of([]).needed("GET", "/v1/adder/own") == ADDER


@pytest.mark.parametrize("scopes", [["case"], ["open"], ["any"], ["cases", ""], "cases"])
def test_a_route_cannot_need_what_no_key_can_have(scopes: list[str] | str) -> None:
    with pytest.raises(UsageError, match=r"no such scope: got '.*', expected predict:<system>"):
        policy_of(scopes)
