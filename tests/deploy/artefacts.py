"""The files of deploy/, read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


@cache
def dockerfile() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage; those before the first are the stage ''."""
    text = (DEPLOY / "Dockerfile").read_text()
    lines = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    stages: dict[str, list[tuple[str, str]]] = {"": []}
    name = ""
    for line in filter(None, map(str.strip, lines)):
        keyword, rest = line.split(maxsplit=1)
        if keyword == "FROM":
            name = rest.split(" AS ")[1]
            stages[name] = []
        stages[name].append((keyword, re.sub(r"\s+", " ", rest)))
    return stages


def values(stage: str, keyword: str) -> dict[str, str]:
    """`ARG` or `ENV` of a stage as a mapping."""
    pairs = " ".join(rest for found, rest in dockerfile()[stage] if found == keyword).split()
    return dict(pair.split("=", 1) for pair in pairs)


def only(stage: str, keyword: str) -> str:
    """The one instruction of its kind."""
    [rest] = [rest for found, rest in dockerfile()[stage] if found == keyword]
    return rest


@cache
def compose() -> dict[str, Any]:
    """Anchors resolved, variables not."""
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


@cache
def rules() -> list[dict[str, Any]]:
    """All recording and alert rules."""
    files = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
    return [rule for file in files for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


@cache
def dashboards() -> dict[str, dict[str, Any]]:
    """By file name."""
    return {file.stem: json.loads(file.read_text()) for file in (DEPLOY / "grafana" / "dashboards").glob("*.json")}


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every panel that shows data, with the name of its dashboard."""
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            if panel["type"] != "row":
                yield name, panel


def alerts_documented() -> set[str]:
    """Names of the alerts that docs/deploy.md has a paragraph for."""
    return set(re.findall(r"^### (\w+)", (ROOT / "docs" / "deploy.md").read_text(), flags=re.MULTILINE))
