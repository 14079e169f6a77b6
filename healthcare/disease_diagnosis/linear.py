"""The fitted tabular model, as serving needs it: NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from healthcare.disease_diagnosis.basis import Basis, Columns
from healthcare.disease_diagnosis.fields import Measurement


@dataclass(frozen=True)
class Linear:
    """Log-odds of every finding against the first, for the choices of tests `panels` (panels,), sorted.

    Weights are (panels, findings - 1, width), intercepts (panels, findings - 1).
    """

    basis: Basis
    panels: np.ndarray
    weights: np.ndarray
    intercepts: np.ndarray

    def place(self, columns: Columns) -> np.ndarray:
        """int (rows,): which row of the weights answers for each patient."""
        return np.searchsorted(self.panels, self.basis.panels(columns))

    def log_odds(self, columns: Columns, place: np.ndarray | None = None) -> np.ndarray:
        """float64 (rows, findings - 1); with `place` as if only the tests of these panels had been done."""
        matrix, _, _ = self.basis.matrix(columns)
        place = self.place(columns) if place is None else place
        # Row by row the same sums in the same order: a batch must give exactly what each row gives alone.
        return (matrix[:, None] * self.weights[place]).sum(axis=2) + self.intercepts[place]

    def contributions(self, columns: Columns, centre: np.ndarray, finding: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Fields, and what each adds to the log-odds (rows, fields) of one finding for each row, from 1.

        Against an average patient, `centre` (width,).
        """
        matrix, _, owners = self.basis.matrix(columns)
        parts = (matrix - centre) * self.weights[self.place(columns), finding - 1]
        names = [field.name for field in self.basis.fields]
        owned = np.array(owners)
        return names, np.stack([parts[:, owned == name].sum(axis=1) for name in names], axis=1)

    def arrays(self) -> dict[str, np.ndarray]:
        """To be kept in a bundle."""
        numbers = {"panels": self.panels, "weights": self.weights, "intercepts": self.intercepts}
        return numbers | {"kernel": self.basis.kernel}

    def json(self) -> dict[str, Any]:
        """All but the arrays."""
        kept = asdict(self.basis) | {"fields": [field.model_dump(mode="json") for field in self.basis.fields]}
        del kept["kernel"]
        return kept

    @classmethod
    def of(cls, kept: dict[str, Any], arrays: dict[str, np.ndarray]) -> Linear:
        """From what `json` and `arrays` gave."""
        fields = tuple(Measurement.model_validate(field) for field in kept["fields"])
        members: Sequence[Any] = tuple(kept["members"])
        basis = Basis(**kept | {"fields": fields, "members": members, "kernel": arrays["kernel"]})
        return cls(basis, arrays["panels"], arrays["weights"], arrays["intercepts"])
