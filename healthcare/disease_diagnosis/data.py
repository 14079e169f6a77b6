"""Where patients and pictures come from: published data, checked against its card and its known bad copies, and the
simulator of chests."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from healthcare.disease_diagnosis.config import Config
from healthcare.disease_diagnosis.fields import Measurement
from healthcare.disease_diagnosis.knowledge import (
    BREAST,
    CHEST,
    CLEVELAND,
    FACTS,
    FINDINGS,
    HEART,
    NOT_MEASURED,
    OFFICIAL,
)
from healthcare.disease_diagnosis.simulator import SIMULATED, simulate

AGE_BANDS = (0, 50, 60, 200)
PICTURES = (CHEST, SIMULATED)
SIDE = 28
FRACTIONS = {"train": 0.75, "test": 0.25}
PARTS = {"train": 0.7, "val": 0.15, "test": 0.15}
"""Of simulated chests."""
Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Patients:
    """Measurements of patients and what was found; place `i` of every array is one patient.

    `frame` has numbers (missing NaN) and words (missing None), `y` is 1 for disease, `groups` keeps equal patients
    together, `site` is the centre, `sex` and `age` serve the promise and the report.
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

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, index: np.ndarray) -> Patients:
        """The patients at these positions, or where a mask is true."""
        index = np.flatnonzero(index) if index.dtype == bool else index
        arrays = {name: getattr(self, name)[index] for name in ("y", "groups", "row", "site", "sex", "age")}
        return replace(self, frame=self.frame.iloc[index].reset_index(drop=True), **arrays)

    def columns(self) -> dict[str, np.ndarray]:
        """Model input by field: float64, or words as objects."""
        return {field.name: self.frame[field.name].to_numpy() for field in self.fields}

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
    if config.dataset == SIMULATED:
        picture, y = simulate(config.pictures, config.seed)
        part = np.empty(len(y), object)
        for name, index in stratified_split(y, None, PARTS, config.seed).items():
            part[index] = name
        return Pictures(SIMULATED, picture, y, part, FINDINGS[CHEST], "", "Simulated chests", "none needed", True)
    if config.dataset.endswith(".csv"):
        return _copy(Path(config.dataset).expanduser())
    card = load_card(config.dataset)
    if card.id not in FINDINGS:
        raise DataError("no such data set in this system", got=card.id, expected=f"one of {', '.join(FINDINGS)}")
    if card.id == CHEST:
        return _pictures(card, fetch(card))
    frame = read_table(card, fetch(card))
    check_schema(frame, card)
    audit(frame, card).raise_on_error()
    return _patients(card, frame, data_sha256(card))


def _copy(path: Path) -> Patients:
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
    return _patients(card, frame, sha256(content))


def _patients(card: DatasetCard, frame: pd.DataFrame, fingerprint: str) -> Patients:
    fields = fields_of(card)
    site = frame["site"].to_numpy(str) if card.stacked else np.full(len(frame), "")
    if card.id == HEART:
        check_labels(frame.loc[site == "cleveland", card.target].gt(0).to_numpy(), f"{card.id}: cleveland")
    y = (frame[card.target] == 0 if card.id == BREAST else frame[card.target] > 0).to_numpy(int)
    # As objects: pandas' own text turns None into NaN.
    measured = pd.DataFrame({f.name: pd.Series(_values(frame[f.name], f), dtype=_dtype(f)) for f in fields})
    everybody = np.full(len(frame), "all")
    return Patients(
        id=card.id,
        frame=measured,
        y=y,
        fields=fields,
        groups=group_of_duplicates(frame, card.features),
        row=np.arange(len(frame)),
        site=site,
        sex=measured["sex"].to_numpy(str) if "sex" in measured else everybody,
        age=age_band(measured["age"].to_numpy()) if "age" in measured else everybody,
        findings=FINDINGS[card.id],
        sha256=fingerprint,
        title=card.title,
        licence=card.licence,
    )


def fields_of(card: DatasetCard) -> tuple[Measurement, ...]:
    """The card's features with what medicine knows of them."""
    found = []
    for name in card.features:
        column = card.column(name)
        facts = FACTS[card.id].get(name, {})
        values: dict[str, Any] = {"minimum": column.minimum, "maximum": column.maximum}
        if column.kind == "category":
            codes = tuple(int(code) for code in column.codes)
            values = {"levels": tuple(column.values.values()), "codes": codes}
        values |= {"name": name, "label": column.description, "kind": column.kind, "unit": column.unit}
        found.append(Measurement(**values | {"optional": column.missing} | facts))
    return tuple(found)


def _dtype(field: Measurement) -> type:
    return float if field.kind == "number" else object


def _values(column: pd.Series, field: Measurement) -> np.ndarray:
    if field.kind == "number":
        values = column.to_numpy(float)
        return np.where(values == NOT_MEASURED[field.name], np.nan, values) if field.name in NOT_MEASURED else values
    words = dict(zip(field.codes, field.levels, strict=True))
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
    return names[np.digitize(age, AGE_BANDS[1:-1])]
