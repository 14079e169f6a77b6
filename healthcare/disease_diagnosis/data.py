"""Where patients and pictures come from: published data, checked against its card and its known bad copies, and the
simulator of chests."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.data.audit import audit
from common.data.card import DatasetCard, load_card
from common.data.fetch import data_sha256, fetch
from common.data.schema import check_schema
from common.data.split import check_split, group_of_duplicates, stratified_split
from common.data.table import read_table
from common.errors import AuditError, DataError
from common.files import sha256
from healthcare.disease_diagnosis.config import Config, Target
from healthcare.disease_diagnosis.fields import Measurement
from healthcare.disease_diagnosis.knowledge import (
    BEDSIDE,
    BREAST,
    CHEST,
    CLEVELAND,
    FACTS,
    FINDINGS,
    FURTHER,
    HEART,
    NOT_MEASURED,
    OFFICIAL,
    SEVERITY,
    UNGRADED,
    USUAL,
)
from healthcare.disease_diagnosis.simulator import SIDE, SIMULATED, simulate

FRACTIONS = {"train": 0.75, "test": 0.25}
PARTS = {"train": 0.7, "val": 0.15, "test": 0.15}
"""Of simulated chests."""
Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Patients:
    """Measurements of patients and what was found; place `i` of every array is one patient.

    `frame` has numbers (missing NaN) and words (missing None), `y` is the place in `findings`, 0 for the healthy one,
    `groups` keeps equal patients together, `site` is the centre, `sex` and `age` serve the promise and the report.
    `further` has what else was examined, by name: labels (n,), -1 where it was not.
    """

    id: str
    frame: pd.DataFrame
    y: np.ndarray
    fields: tuple[Measurement, ...]
    groups: np.ndarray
    row: np.ndarray
    site: np.ndarray
    sex: np.ndarray
    age: np.ndarray
    findings: tuple[str, ...]
    sha256: str
    title: str
    licence: str
    simulated: bool = False
    further: Columns = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.y)

    @property
    def diseased(self) -> np.ndarray:
        """1 for any finding but the healthy one, else 0 (n,)."""
        return (self.y > 0).astype(int)

    def rows(self, index: np.ndarray) -> Patients:
        """The patients at these positions, or where a mask is true."""
        index = np.flatnonzero(index) if index.dtype == bool else index
        arrays = {name: getattr(self, name)[index] for name in ("y", "groups", "row", "site", "sex", "age")}
        further = {name: labels[index] for name, labels in self.further.items()}
        return replace(self, frame=self.frame.iloc[index].reset_index(drop=True), further=further, **arrays)

    def questions(self) -> dict[str, Patients]:
        """All patients with the main labels, under no name, and of each further examination those who had it."""
        found = {"": self}
        for name, labels in self.further.items():
            own = self.rows(labels >= 0)
            found[name] = replace(own, y=own.further[name], findings=FURTHER[name], further={})
        return found

    def columns(self) -> dict[str, np.ndarray]:
        """Model input by field: float64, or words as objects."""
        return {f.name: self.frame[f.name].to_numpy() for f in self.fields}

    def split(self, centre: str, seed: int) -> dict[str, Patients]:
        """train and test of one centre, and every other centre whole, under its name."""
        own = self.rows(self.site == centre) if centre in self.site else self
        parts = stratified_split(own.y, own.groups, FRACTIONS, seed)
        found = {name: own.rows(index) for name, index in parts.items()}
        found |= {str(site): self.rows(self.site == site) for site in np.unique(self.site) if centre in self.site}
        found.pop(centre, None)
        check_split({name: found[name].frame for name in parts}, features=self.frame.columns.tolist())
        return found


@dataclass(frozen=True)
class Pictures:
    """Chest X-rays uint8 (n, 28, 28), what was found (n,), and the part of the published split each is in."""

    id: str
    picture: np.ndarray
    y: np.ndarray
    part: np.ndarray
    findings: tuple[str, ...]
    sha256: str
    title: str
    licence: str
    simulated: bool = False

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, index: np.ndarray) -> Pictures:
        """The pictures at these positions, or where a mask is true."""
        return replace(self, **{name: getattr(self, name)[index] for name in ("picture", "y", "part")})

    def split(self) -> dict[str, Pictures]:
        """train, val and test as published; what stands in a later part too is left out of train."""
        found = {name: self.rows(self.part == name) for name in ("train", "val", "test")}
        later = {picture.tobytes() for name in ("val", "test") for picture in found[name].picture}
        kept = np.array([picture.tobytes() not in later for picture in found["train"].picture])
        return found | {"train": found["train"].rows(kept)}


def load(config: Config) -> Patients | Pictures:
    """Load, check and audit a data set.

    Raises `DatasetUnavailable`, `DataCorrupted`, `SchemaError` or `AuditError`.
    """
    own = config.dataset.endswith(".csv")
    if config.target != "disease" and config.dataset != HEART and not own:
        raise DataError("one label alone is known", where=config.dataset, got=config.target, expected="target=disease")
    if config.dataset == SIMULATED:
        picture, y = simulate(config.pictures, config.seed)
        part = np.empty(len(y), object)
        for name, index in stratified_split(y, None, PARTS, config.seed).items():
            part[index] = name
        return Pictures(SIMULATED, picture, y, part, FINDINGS[CHEST], "", "Simulated chests", "none needed", True)
    if own:
        return _copy(Path(config.dataset).expanduser(), config.target)
    card = load_card(config.dataset)
    if card.id not in FINDINGS:
        raise DataError("no such data set in this system", got=card.id, expected=f"one of {', '.join(FINDINGS)}")
    if card.id == CHEST:
        return _pictures(card, fetch(card))
    frame = read_table(card, fetch(card))
    check_schema(frame, card)
    audit(frame, card).raise_on_error()
    return _patients(card, frame, data_sha256(card), config.target)


def _copy(path: Path, target: Target) -> Patients:
    """A copy of Cleveland's patients of one's own, with or without a header, its columns in the order of the source.

    Refused when its labels are inverted or others, or when it writes other codes.
    """
    card = load_card(HEART)
    names = [column.name for column in card.columns if column.name != card.stacked]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=str(path)) from None
    header = 0 if content[:1].isalpha() else None
    frame = pd.read_csv(io.BytesIO(content), header=header, names=names, na_values=["?"])
    check_labels(frame[card.target].gt(0).to_numpy(), str(path))
    frame = frame.assign(site="cleveland")
    check_schema(frame, card)
    return _patients(card, frame, sha256(content), target)


def _patients(card: DatasetCard, frame: pd.DataFrame, fingerprint: str, target: Target) -> Patients:
    fields = fields_of(card)
    if target == "severity":
        frame = frame[frame["site"] != UNGRADED].reset_index(drop=True)
    site = frame["site"].to_numpy(str) if card.stacked else np.full(len(frame), "")
    if card.id == HEART:
        check_labels(frame.loc[site == "cleveland", card.target].gt(0).to_numpy(), f"{card.id}: cleveland")
    y = (frame[card.target] == 0 if card.id == BREAST else frame[card.target] > 0).to_numpy(int)
    further = {}
    if target == "severity":
        y = frame[card.target].to_numpy(int)
    elif target == "findings":
        examined = {f.name: _values(frame[f.name], f) for f in fields if f.name in FURTHER}
        further = {name: labels_of(words, USUAL[name]) for name, words in examined.items()}
        fields = tuple(f for f in fields if f.test in BEDSIDE)
    # As objects: pandas' own text turns None into NaN.
    columns = {f.name: _values(frame[f.name], f) for f in fields}
    measured = pd.DataFrame({name: pd.Series(values, dtype=values.dtype) for name, values in columns.items()})
    everybody = np.full(len(frame), "all")
    return Patients(
        id=card.id,
        frame=measured,
        y=y,
        fields=fields,
        groups=group_of_duplicates(frame, list(columns)),
        row=np.arange(len(frame)),
        site=site,
        sex=measured["sex"].to_numpy(str) if "sex" in measured else everybody,
        age=age_band(measured["age"].to_numpy()) if "age" in measured else everybody,
        findings=SEVERITY if target == "severity" else FINDINGS[card.id],
        sha256=fingerprint,
        title=card.title,
        licence=card.licence,
        further=further,
    )


def labels_of(words: np.ndarray, usual: str) -> np.ndarray:
    """0 for the usual level, 1 for any other, -1 for what was not examined, of words (n,)."""
    return np.array([-1 if word is None else int(word != usual) for word in words], int)


def fields_of(card: DatasetCard) -> tuple[Measurement, ...]:
    """The card's features with what medicine knows of them."""
    found = []
    for name in card.features:
        column = card.column(name)
        facts = FACTS.get(card.id, {}).get(name, {})
        values: dict[str, Any] = {"minimum": column.minimum, "maximum": column.maximum}
        if column.kind == "category":
            codes = tuple(int(code) for code in column.codes)
            values = {"levels": tuple(column.values.values()), "codes": codes}
        values |= {"name": name, "label": column.description, "kind": column.kind, "unit": column.unit}
        found.append(Measurement(**values | {"optional": column.missing} | facts))
    return tuple(found)


def _values(column: pd.Series, asked: Measurement) -> np.ndarray:
    if asked.kind == "number":
        values = column.to_numpy(float)
        return np.where(values == NOT_MEASURED[asked.name], np.nan, values) if asked.name in NOT_MEASURED else values
    words = dict(zip(asked.codes, asked.levels, strict=True))
    return np.array([None if pd.isna(code) else words[int(code)] for code in column], object)


def check_labels(diseased: np.ndarray, where: str) -> None:
    """Refuse a copy of Cleveland, bool (patients,), whose labels are not those of the source, naming inverted ones.

    Copies of any length are told by the share of the diseased. Raises `AuditError`.
    """
    counts = {"diseased": int(diseased.sum()), "healthy": int((~diseased).sum())}
    if counts == CLEVELAND:
        return
    share, expected = diseased.mean(), CLEVELAND["diseased"] / sum(CLEVELAND.values())
    inverted = abs(share - (1 - expected)) < min(abs(share - expected), 0.03)
    what = "the labels are inverted: 1 means healthy in this copy" if inverted else "other labels than the source's"
    told = [", ".join(f"{name} {count}" for name, count in found.items()) for found in (counts, CLEVELAND)]
    fix = "turn the labels over, or use the files that the card names" if inverted else "use the files of the card"
    raise AuditError(what, where=where, got=told[0], expected=told[1], fix=fix)


def _pictures(card: DatasetCard, paths: Mapping[str, Path]) -> Pictures:
    """The official data from two altered copies: the normals of train are whole in the one, all else in the other."""
    first, second = (paths[file.path] for file in card.files)
    with np.load(first) as main, np.load(second) as balanced:
        taken = {name: (main[f"{name}_images"], main[f"{name}_labels"].ravel()) for name in OFFICIAL}
        picture, label = balanced["train_images"], balanced["train_labels"].ravel()
    ill = taken["train"][1] == 1
    normal = label == 0
    taken["train"] = (
        np.concatenate([picture[normal], taken["train"][0][ill]]),
        np.concatenate([label[normal], taken["train"][1][ill]]),
    )
    for name, (pictures, labels) in taken.items():
        got = tuple(np.bincount(labels, minlength=2).tolist())
        if got != OFFICIAL[name] or pictures.shape[1:] != (SIDE, SIDE) or pictures.dtype != np.uint8:
            expected = f"{OFFICIAL[name]} of uint8 {SIDE} x {SIDE}"
            where = f"{card.id}, part {name}, normal and pneumonia"
            raise AuditError("not the official split", where=where, got=f"{got} of {pictures.dtype}", expected=expected)
    return Pictures(
        id=card.id,
        picture=np.concatenate([pictures for pictures, _ in taken.values()]),
        y=np.concatenate([labels for _, labels in taken.values()]).astype(int),
        part=np.repeat(list(taken), [len(labels) for _, labels in taken.values()]),
        findings=FINDINGS[CHEST],
        sha256=data_sha256(card),
        title=card.title,
        licence=card.licence,
    )


def age_band(age: np.ndarray) -> np.ndarray:
    """`below 50`, `50 to 59`, `60 and over` of ages in years (n,)."""
    names = np.array(["below 50", "50 to 59", "60 and over"])
    return names[np.digitize(age, (50, 60))]
