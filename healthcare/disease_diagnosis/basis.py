"""What measurements become before they are weighed: a matrix whose columns each belong to one field, but for kernels.

Every member of the ensemble is linear in columns of its own. So their average is linear in all columns together, a
missing examination is a set of columns that weigh nothing, and what a field adds to the log-odds is a sum over its
columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from healthcare.disease_diagnosis.fields import Measurement, Member

if TYPE_CHECKING:
    from healthcare.disease_diagnosis.config import TabularSettings

STEPS = 15
"""Cuts of a number that boosting may step at, at most."""
SMALLEST = 0.01
"""Share of the median that is added before a logarithm, as zeros occur."""
Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Basis:
    """Fitted on training rows, as plain data: numbers' middle, centre, spread, knots and steps; usual levels; kernels.

    `tests` are the examinations that may be absent, each with its fields.
    """

    fields: tuple[Measurement, ...]
    members: tuple[Member, ...]
    logarithm: bool
    numbers: dict[str, dict[str, Any]]
    usual: dict[str, str]
    kernel: np.ndarray

    @classmethod
    def fit(cls, fields: Sequence[Measurement], columns: Columns, settings: TabularSettings, seed: int) -> Basis:
        """From training rows; a field is never all missing there."""
        numbers, usual = {}, {}
        for field in fields:
            if field.kind == "category":
                words, counts = np.unique(
                    [word for word in columns[field.name] if word is not None], return_counts=True
                )
                usual[field.name] = str(words[np.argmax(counts)])
                continue
            known = columns[field.name][~np.isnan(columns[field.name])]
            found: dict[str, Any] = {"middle": float(np.median(known)), "offset": 0.0}
            if settings.logarithm:
                found["offset"] = SMALLEST * found["middle"] or SMALLEST
                known = np.log(known + found["offset"])
            found |= {"centre": float(known.mean()), "spread": float(known.std()) or 1.0}
            ends = np.quantile(known, np.linspace(0, 1, settings.knots))
            found["knots"] = np.unique(ends).tolist()
            found["steps"] = np.unique(np.quantile(known, np.linspace(0, 1, STEPS + 2)[1:-1])).tolist()
            numbers[field.name] = found
        basis = cls(tuple(fields), settings.members, settings.logarithm, numbers, usual, np.empty((0, 0)))
        if "kernel" not in settings.members:
            return basis
        width = basis._linear({name: values[:1] for name, values in columns.items()})[0].shape[1]
        rng = np.random.default_rng(seed)
        directions = rng.normal(0, np.sqrt(2 * settings.kernel_gamma), (width, settings.kernel_size))
        kernel = np.vstack([directions, rng.uniform(0, 2 * np.pi, settings.kernel_size)])
        return cls(tuple(fields), settings.members, settings.logarithm, numbers, usual, kernel)

    @property
    def tests(self) -> dict[str, list[str]]:
        """Examinations that may be absent, with their fields."""
        found: dict[str, list[str]] = {}
        for field in self.fields:
            if field.test:
                found.setdefault(field.test, []).append(field.name)
        return found

    def panels(self, columns: Columns) -> np.ndarray:
        """int (rows,): bit `i` is set where the `i`-th test was done, which means one of its fields is known."""
        found = np.zeros(len(next(iter(columns.values()))), int)
        for bit, names in enumerate(self.tests.values()):
            done = np.any([known(columns[name]) for name in names], axis=0)
            found |= done.astype(int) << bit
        return found

    def matrix(self, columns: Columns) -> tuple[np.ndarray, list[str], list[str]]:
        """float64 (rows, width), and of each column its member and its field (empty: of all fields together).

        What is missing within a test that was done is the median or the usual level.
        """
        whole: list[np.ndarray] = []
        members: list[str] = []
        owners: list[str] = []
        for member in self.members:
            block, owner = getattr(self, f"_{BLOCKS[member]}")(columns)
            whole.append(block)
            members += [member] * block.shape[1]
            owners += owner
        return np.hstack(whole), members, owners

    def _number(self, name: str, columns: Columns) -> np.ndarray:
        found = self.numbers[name]
        values = np.where(np.isnan(columns[name]), found["middle"], columns[name])
        return np.log(values + found["offset"]) if self.logarithm else values

    def _levels(self, field: Measurement, columns: Columns) -> np.ndarray:
        """One column a level."""
        words = np.array([self.usual[field.name] if word is None else word for word in columns[field.name]], object)
        return (words[:, None] == np.array(field.levels, object)).astype(float)

    def _by_field(self, columns: Columns, of_number: Any) -> tuple[np.ndarray, list[str]]:
        blocks = [
            self._levels(field, columns) if field.kind == "category" else of_number(field.name) for field in self.fields
        ]
        owners = [field.name for field, block in zip(self.fields, blocks, strict=True) for _ in range(block.shape[1])]
        return np.hstack(blocks), owners

    def _linear(self, columns: Columns) -> tuple[np.ndarray, list[str]]:
        def scaled(name: str) -> np.ndarray:
            found = self.numbers[name]
            return ((self._number(name, columns) - found["centre"]) / found["spread"])[:, None]

        return self._by_field(columns, scaled)

    def _hats(self, columns: Columns) -> tuple[np.ndarray, list[str]]:
        """Piecewise linear, constant beyond the training rows: another centre's extremes are not extrapolated."""

        def hats(name: str) -> np.ndarray:
            knots = self.numbers[name]["knots"]
            values = self._number(name, columns)
            return np.stack([np.interp(values, knots, row) for row in np.eye(len(knots))], axis=1)

        return self._by_field(columns, hats)

    def _steps(self, columns: Columns) -> tuple[np.ndarray, list[str]]:
        def steps(name: str) -> np.ndarray:
            return (self._number(name, columns)[:, None] >= np.array(self.numbers[name]["steps"])).astype(float)

        return self._by_field(columns, steps)

    def _waves(self, columns: Columns) -> tuple[np.ndarray, list[str]]:
        """Random Fourier features of a Gaussian kernel (Rahimi & Recht, 2007): no patient is kept, as in an SVM."""
        linear, _ = self._linear(columns)
        size = self.kernel.shape[1]
        angles = row_by_row(linear, self.kernel[:-1]) + self.kernel[-1]
        return np.cos(angles) * np.sqrt(2 / size), [""] * size


BLOCKS: dict[Member, str] = {"logistic": "linear", "additive": "hats", "boosting": "steps", "kernel": "waves"}


def known(values: np.ndarray) -> np.ndarray:
    """bool (rows,): where a value was measured."""
    if values.dtype == object:
        return np.array([value is not None for value in values], bool)
    return ~np.isnan(values)


def row_by_row(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """`x @ matrix` float64 (rows, columns), the same to the last digit however many rows come together.

    BLAS takes another kernel for one row than for many, which on some processors rounds otherwise.
    """
    return np.stack([row @ matrix for row in x]) if len(x) else np.empty((0, matrix.shape[1]))
