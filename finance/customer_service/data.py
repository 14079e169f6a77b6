"""Where utterances come from: the simulator, published sets, or a file of your own."""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from common.data.card import Published, load_card
from common.data.card import published as published_on_card
from common.data.fetch import data_sha256, fetch
from common.errors import DatasetUnavailable, SchemaError
from common.files import sha256
from common.text.ngrams import normalised
from finance.customer_service.language import language_of
from finance.customer_service.simulator import SIMULATED, Said, phrases, simulate

BANKING, CLINC = "service-banking77", "service-clinc150"
OUT_OF_SCOPE = ("", "oos", "out_of_scope")
TEST_SHARE = 0.2
"""Of the rows of a file of one's own."""


@dataclass(frozen=True)
class Utterances:
    """Texts in rows; all arrays are object arrays of str but `group`, and have the shape (rows,).

    `intent` is empty out of scope, where `kind` says what it is as far as that is known. Rows of one `group` (int) were
    made from one phrase, or are equal: a split keeps them together.
    """

    text: np.ndarray
    intent: np.ndarray
    language: np.ndarray
    kind: np.ndarray
    group: np.ndarray

    def __len__(self) -> int:
        return len(self.text)

    def rows(self, index: np.ndarray) -> Utterances:
        """The utterances at these positions, or where a mask is true."""
        return Utterances(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    @property
    def known(self) -> np.ndarray:
        """bool (rows,): whether one of the intents is meant."""
        return self.intent != ""


@dataclass(frozen=True)
class Corpus:
    """What may be learnt from. The test part is another call, `load_test`, and another file where there is one."""

    id: str
    title: str
    licence: str
    sha256: str
    simulated: bool
    train: Utterances


def load(dataset: str, seed: int = 0) -> Corpus:
    """Utterances to train, choose and calibrate with.

    Raises `DatasetUnavailable`, `DataCorrupted`, or `SchemaError` naming the first bad row of a file of one's own.
    """
    if dataset == SIMULATED:
        said = simulate(seed, test=False)
        title = "Simulated customers of a bank (no real customer)"
        content = json.dumps(phrases(), sort_keys=True, ensure_ascii=False).encode()
        return Corpus(dataset, title, "made here, no rights reserved", sha256(content), True, _simulated(said))
    if dataset in (BANKING, CLINC):
        card = load_card(dataset)
        rows = _banking("train.csv") if dataset == BANKING else _clinc("train", "val")
        return Corpus(card.id, card.title, card.licence, data_sha256(card), False, _utterances(rows))
    rows, content = _own(dataset)
    train = _utterances(rows)
    train = train.rows(~_held_out(train, seed))
    return Corpus(Path(dataset).name, Path(dataset).name, "own data", sha256(content), False, train)


def load_test(dataset: str, seed: int = 0) -> Utterances:
    """The test part: for `evaluate.py` and `bench.py` alone. Raises as `load` does."""
    if dataset == SIMULATED:
        return _simulated(simulate(seed, test=True))
    if dataset in (BANKING, CLINC):
        return _utterances(_banking("test.csv") if dataset == BANKING else _clinc("test"))
    everything = _utterances(_own(dataset)[0])
    return everything.rows(_held_out(everything, seed))


def as_tasks(dataset: str, data: Utterances) -> Utterances:
    """Utterances of a published set with our intents, by `tasks.toml`; others are near, or far outside of a bank."""
    ours = tasks()[dataset]
    bank = set(data.intent[data.known])
    if dataset == CLINC:
        domains = json.loads(paths(CLINC)["domains.json"].read_bytes())
        bank = {*domains["banking"], *domains["credit_cards"]}
    intent = np.array([ours.get(name, "") for name in data.intent], dtype=object)
    kind = [f"{'near' if name in bank else 'far'}.{name}" if name else "far" for name in data.intent]
    return replace(data, intent=intent, kind=np.where(intent == "", np.array(kind, dtype=object), ""))


def named_test(dataset: str, seed: int) -> bytes:
    """Which rows the test part has, without opening a published one."""
    if dataset in (BANKING, CLINC):
        return data_sha256(load_card(dataset)).encode()
    return "\n".join(load_test(dataset, seed).text).encode()


@cache
def tasks() -> dict[str, dict[str, str]]:
    """By published set: the intent of ours that each of its intents stands for, where there is one."""
    known = tomllib.loads(files(__package__).joinpath("tasks.toml").read_text(encoding="utf-8"))
    return {name: {own: task for task, some in of.items() for own in some} for name, of in known.items()}


def paths(dataset: str) -> dict[str, Path]:
    """The files of a published data set by name. Raises `DatasetUnavailable` or `DataCorrupted`."""
    return fetch(load_card(dataset))


def published(dataset: str, protocol: str | None = None) -> list[Published]:
    """Published numbers, all or those of one protocol; none for data of one's own."""
    return published_on_card(dataset, protocol) if dataset in (BANKING, CLINC) else []


def joined(parts: Iterable[Utterances]) -> Utterances:
    """Utterances of several sets one after the other; no group is in two of them."""
    kept, most = [], 0
    for part in parts:
        kept.append(replace(part, group=part.group + most))
        most += int(part.group.max(initial=-1)) + 1
    return Utterances(*(np.concatenate([getattr(p, n) for p in kept]) for n in Utterances.__dataclass_fields__))


def _simulated(said: Sequence[Said]) -> Utterances:
    return _utterances([(s.text, s.intent, s.language, s.kind) for s in said], [s.phrase for s in said])


def _banking(name: str) -> list[tuple[str, str, str, str]]:
    with paths(BANKING)[name].open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"], "en", "") for row in csv.DictReader(file)]


def _clinc(*parts: str) -> list[tuple[str, str, str, str]]:
    everything = json.loads(paths(CLINC)["data_full.json"].read_bytes())
    known = [(text, intent, "en", "") for part in parts for text, intent in everything[part]]
    return known + [(text, "", "en", "far") for part in parts for text, _ in everything[f"oos_{part}"]]


def _own(dataset: str) -> tuple[list[tuple[str, str, str, str]], bytes]:
    path = Path(dataset).expanduser()
    if not path.is_file() or path.suffix not in (".csv", ".jsonl"):
        expected = f"{SIMULATED}, {BANKING}, {CLINC}, or the path of a .csv or .jsonl file"
        raise DatasetUnavailable("no such data set", got=repr(dataset), expected=expected)
    content = path.read_bytes()
    try:
        lines = content.decode("utf-8-sig").splitlines()
        records = list(csv.DictReader(lines)) if path.suffix == ".csv" else [json.loads(x) for x in lines if x.strip()]
    except (UnicodeDecodeError, ValueError, csv.Error) as error:
        raise SchemaError(f"cannot be read ({error})", where=str(path), expected="UTF-8") from None
    return [_record(record, path, number) for number, record in enumerate(records, 1)], content


def _record(record: Any, path: Path, number: int) -> tuple[str, str, str, str]:
    """One row of a file of one's own."""
    where = f"{path}, row {number}"
    if not isinstance(record, dict) or not isinstance(record.get("text"), str) or "intent" not in record:
        expected = "columns text and intent, and perhaps language; an empty intent or oos is out of scope"
        raise SchemaError("no text or no intent", where=where, expected=expected)
    text, intent = record["text"].strip(), str(record["intent"] or "").strip()
    language = record.get("language") or language_of(text)
    if not text or language not in ("en", "zh"):
        got = repr(text[:40]) if not record.get("language") else repr(record["language"])
        raise SchemaError("no text in English or Chinese", where=where, got=got, fix="mend or drop this row")
    return (
        text,
        "" if intent.lower() in OUT_OF_SCOPE else intent,
        language,
        "" if intent and intent.lower() not in OUT_OF_SCOPE else "far",
    )


def _utterances(rows: Sequence[tuple[str, str, str, str]], groups: Sequence[int] | None = None) -> Utterances:
    """Equal texts, but for case, width and blanks, are one group where nothing else says so."""
    text, intent, language, kind = (np.array(column, dtype=object) for column in zip(*rows, strict=True))
    if groups is None:
        groups = np.unique([normalised(one) for one in text], return_inverse=True)[1].tolist()
    return Utterances(text, intent, language, kind, np.asarray(groups, dtype=np.int64))


def _held_out(data: Utterances, seed: int) -> np.ndarray:
    """bool (rows,): a fifth of the rows, by intent, groups together."""
    from common.data.split import stratified_split

    parts = stratified_split(data.intent, data.group, {"train": 1 - TEST_SHARE, "test": TEST_SHARE}, seed)
    mask = np.zeros(len(data), bool)
    mask[parts["test"]] = True
    return mask
