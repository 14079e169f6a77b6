"""Rules beside the model: a typed set of them with its lists, their backtest, and the book that keeps every version."""

from __future__ import annotations

import fcntl
import json
import os
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import ConfigDict, Field, ValidationError, model_validator

from common.config import Strict
from common.errors import InvalidRequest, RequestError, SchemaError
from common.evaluation.metrics import wilson
from common.files import write_whole
from finance.fraud_detection.conditions import Condition, Kind, MalformedRule, Schema, compile_condition, near

Action = Literal["review", "decline", "approve"]
Mode = Literal["live", "shadow", "off"]
SCORE: dict[str, Kind] = {"score": "number"}
"""The model's score, 0 to 1: a field that every rule may read beside those of the schema."""
EXAMPLE: dict[str, Any] = {
    "rules": [
        {
            "name": "large-at-night",
            "when": "amount > 50000 and (hour < 6 or hour >= 23)",
            "action": "review",
            "mode": "shadow",
            "reason": "large amount at night",
        }
    ]
}
"""In OpenAPI: fields that every bundle has."""


class Rule(Strict):
    """Takes `action` where `when` holds if it is live; in shadow it is only noted."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    when: str = Field(pattern=r"\S", max_length=2000, description="a condition, such as amount > 50000 and hour < 6")
    action: Action
    mode: Mode
    reason: str = Field(min_length=1, max_length=200, description="what the investigator is told")


class Entry(Strict):
    """One value of an entity, such as a terminal, on a list: up to the time `until` (exclusive), or for good."""

    list: Literal["block", "allow"]
    entity: str
    value: str = Field(min_length=1, max_length=200)
    until: int | None = Field(None, description="milliseconds since 1970")
    reason: str = Field("", max_length=200)


class RuleSet(Strict):
    """All rules and list entries of one version; version 0 is the empty one, before any was published."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    version: int = Field(0, ge=0)
    rules: tuple[Rule, ...] = ()
    lists: tuple[Entry, ...] = ()
    note: str = Field("", max_length=1000, description="who changed what, and why")

    @model_validator(mode="after")
    def _once(self) -> Self:
        names = [f"rule {rule.name!r}" for rule in self.rules]
        names += [f"{entry.entity} {entry.value!r} on the {entry.list} list" for entry in self.lists]
        if len(set(names)) < len(names):
            raise ValueError(f"each rule and entry once, {Counter(names).most_common(1)[0][0]} is there twice")
        return self


class CompiledRules:
    """A rule set ready to be asked, about a microsecond for each rule.

    Raises `MalformedRule` naming the rule or entry, the place, what was got and what was expected by `schema`.
    """

    def __init__(self, ruleset: RuleSet, schema: Schema) -> None:
        conditions = [
            compile_condition(rule.when, {**schema, **SCORE}, f"rule {rule.name!r}") for rule in ruleset.rules
        ]
        self.version = ruleset.version
        self._asked = [pair for pair in zip(ruleset.rules, conditions, strict=True) if pair[0].mode != "off"]
        lists: dict[tuple[str, str], dict[str, Entry]] = defaultdict(dict)
        for entry in ruleset.lists:
            if schema.get(entry.entity) != "text":
                where, fix = f"{entry.list} list, {entry.value!r}", near(entry.entity, _texts(schema))
                raise MalformedRule("not an entity", where=where, got=repr(entry.entity), fix=fix)
            lists[entry.list, entry.entity][entry.value] = entry
        # Descending: block comes before allow.
        self._lists = [(entity, entries) for (_, entity), entries in sorted(lists.items(), reverse=True)]

    def fired(self, record: Mapping[str, Any], degraded: bool = False) -> list[Rule]:
        """Live and shadow rules that hold, in the order of the set.

        While the state is away (`degraded`) a rule is not asked when it reads a field that the record lacks or a
        number that is missing: `not x > 5` or `is_missing(x)` would hold for no other reason than that. A text that
        is None still counts as known to be absent. Raises `SchemaError` when, not degraded, a field is lacking.
        """
        try:
            return [
                rule
                for rule, condition in self._asked
                if not (degraded and _away(condition, record)) and condition.on_record(record)
            ]
        except KeyError as error:
            raise SchemaError("a rule reads a field that the record lacks", got=f"no {error}") from None

    def listed(self, record: Mapping[str, Any], time: int) -> Entry | None:
        """The entry that holds at `time` (ms since 1970, that of the transaction); block wins over allow."""
        for entity, entries in self._lists:
            entry = entries.get(record.get(entity, ""))
            if entry and (entry.until is None or time < entry.until):
                return entry
        return None


def _texts(schema: Schema) -> list[str]:
    return [name for name, kind in schema.items() if kind == "text"]


def _away(condition: Condition, record: Mapping[str, Any]) -> bool:
    for name, kind in condition.fields.items():
        value = record.get(name)
        if name not in record or (kind == "number" and (value is None or value != value)):
            return True
    return False


class RuleResult(Strict):
    """One rule on history; rates and amounts are of the rows whose label is known."""

    name: str
    action: Action
    mode: Mode
    hits: int
    unknown: int = Field(description="hits whose label is not known")
    frauds: int
    precision: float | None = Field(description="frauds among hits with known label; null without any")
    interval: tuple[float, float] | None = Field(description="95 % Wilson interval of the precision")
    recall: float | None = Field(description="share of all known frauds; null without any")
    fraud_amount: int = Field(description="minor units: caught, or let through if the action is approve")
    good_amount: int = Field(description="minor units of transactions known to be good")
    new_hits: int = Field(description="hits of no earlier rule of the set, those that are off not counted")


def backtest(ruleset: RuleSet, columns: Mapping[str, Any], fraud: Any, amount: Any) -> list[RuleResult]:
    """Every rule on history, also those in shadow or off; without the lists, which say nothing of the past.

    `columns` are the fields, shape (n,): numeric dtypes are numbers, all others texts; `fraud` is 1, 0 or -1 (unknown)
    and `amount` minor units. Raises `MalformedRule` for a rule that does not fit the columns and `SchemaError` for
    columns of unequal length.
    """
    fraud, amount = np.asarray(fraud), np.asarray(amount)
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    for name, array in [*arrays.items(), ("the amounts", amount)]:
        if array.shape != fraud.shape:
            raise SchemaError("not as long as the labels", where=name, got=array.shape, expected=fraud.shape)
    schema: dict[str, Kind] = {name: "number" if a.dtype.kind in "biuf" else "text" for name, a in arrays.items()}
    results, seen, frauds = [], np.zeros(len(fraud), bool), int((fraud == 1).sum())
    for rule in ruleset.rules:
        hit = compile_condition(rule.when, schema, f"rule {rule.name!r}").on_columns(arrays)
        bad, good = hit & (fraud == 1), hit & (fraud == 0)
        caught, known = int(bad.sum()), int(bad.sum() + good.sum())
        interval = tuple(float(end) for end in wilson(caught, known)) if known else None
        results.append(
            RuleResult.model_validate(
                {
                    **rule.model_dump(include={"name", "action", "mode"}),
                    "hits": int(hit.sum()),
                    "unknown": int(hit.sum()) - known,
                    "frauds": caught,
                    "precision": caught / known if known else None,
                    "interval": interval,
                    "recall": caught / frauds if frauds else None,
                    "fraud_amount": int(amount[bad].sum()),
                    "good_amount": int(amount[good].sum()),
                    "new_hits": int((hit & ~seen).sum()),
                }
            )
        )
        if rule.mode != "off":
            seen = seen | hit
    return results


def read_rules(file: Path) -> RuleSet:
    """The rule set of a `.json` or `.toml` file. Raises `MalformedRule` naming the file and the place in it."""
    try:
        content = file.read_text(encoding="utf-8")
        return RuleSet.model_validate(tomllib.loads(content) if file.suffix == ".toml" else json.loads(content))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
        where, got = f"{file}, {steps.lstrip('.')}" if steps else str(file), repr(first["input"])
        if first["type"] == "extra_forbidden":
            known = [name for model in (RuleSet, Rule, Entry) for name in model.model_fields]
            raise MalformedRule("unknown entry", where=where, fix=near(str(first["loc"][-1]), known)) from None
        expected = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        got = got if len(got) <= 60 else f"{got[:60]}…"
        raise MalformedRule("not a rule set", where=where, got=got, expected=expected) from None
    except (ValueError, RecursionError) as error:
        raise MalformedRule("not a whole file of rules", where=str(file), got=str(error)) from None


class VersionTaken(RequestError):
    """Somebody else published in between; HTTP 409."""

    status = 409


class RuleBook:
    """Every version of the rules as a file of its own in `folder`, never overwritten; the highest one holds."""

    def __init__(self, folder: Path, schema: Schema) -> None:
        self.folder, self.schema = folder, schema

    def versions(self) -> list[int]:
        """Published versions, ascending. Files of other names, such as that of a killed writer, do not count."""
        names = os.listdir(self.folder) if self.folder.exists() else []
        return sorted(int(found[1]) for name in names if (found := re.fullmatch(r"(\d{6,})\.json", name)))

    def read(self, version: int) -> RuleSet:
        """One version. Raises `InvalidRequest` if there is none, `MalformedRule` naming a file that is damaged."""
        known = [0, *self.versions()]
        if version not in known:
            raise InvalidRequest("no such version of the rules", got=version, expected=f"0 to {known[-1]}")
        ruleset = read_rules(file := self._file(version)) if version else RuleSet()
        if ruleset.version != version:
            raise MalformedRule("another version than its name", where=str(file), got=ruleset.version, expected=version)
        return ruleset

    def current(self) -> RuleSet:
        """The version that holds. A damaged one is an error: older rules in its place would be a silent change."""
        return self.read(max(self.versions(), default=0))

    def publish(self, ruleset: RuleSet, based_on: int | None = None) -> int:
        """Write a new version, whatever number the set bears; its number.

        With `based_on`, the version that was edited, raises `VersionTaken` if another one was published since, as its
        changes would be lost. Raises `MalformedRule` for what does not fit the schema.
        """
        CompiledRules(ruleset, self.schema)
        with self._locked():
            latest = max(self.versions(), default=0)
            if based_on not in (None, latest):
                fix = "make the change in the current version"
                raise VersionTaken("the rules were changed since", got=f"version {latest}", expected=based_on, fix=fix)
            published = ruleset.model_copy(update={"version": latest + 1})
            write_whole(self._file(latest + 1), published.model_dump_json(indent=1))
        return latest + 1

    def roll_back(self, version: int) -> int:
        """Publish a copy of an older version as a new one, so that history stays as it was; its number."""
        return self.publish(self.read(version).model_copy(update={"note": f"copy of version {version}"}))

    def _file(self, version: int) -> Path:
        return self.folder / f"{version:06}.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time on this machine; a killed one leaves no lock behind."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / ".lock", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
