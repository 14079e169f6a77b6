"""What a patient is judged on, as serving needs it: findings of which one is true, the healthy one first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from healthcare.disease_diagnosis.basis import Columns
from healthcare.disease_diagnosis.linear import Linear
from healthcare.disease_diagnosis.promise import Site


@dataclass(frozen=True)
class Question:
    """A model, its sites by name (the centre where it was fitted first), and the average patient there (width,)."""

    findings: Sequence[str]
    linear: Linear
    sites: dict[str, Site]
    centre: np.ndarray

    @property
    def home(self) -> str:
        """The centre where the model was fitted."""
        return next(iter(self.sites))

    def chances(self, columns: Columns, site: str = "") -> np.ndarray:
        """Probabilities (rows, findings) at a site."""
        place = self.linear.place(columns)
        return self.sites[site or self.home].chances(self.linear.log_odds(columns, place), place)

    def sets(self, columns: Columns, coverage: float, group: np.ndarray, site: str = "") -> np.ndarray:
        """bool (rows, findings): the sets of patients of subgroups (rows,) at a site."""
        at = self.sites[site or self.home]
        return at.sets(self.chances(columns, site), coverage, self.linear.place(columns), group)

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """To be kept in a bundle."""
        own = self.linear.arrays() | {"centre": self.centre}
        own |= {key: value for site, held in self.sites.items() for key, value in held.arrays(f"at {site}").items()}
        return {f"{name}.{key}": value for key, value in own.items()}

    def json(self) -> dict[str, Any]:
        """All but the arrays."""
        sites = {name: site.group.tolist() for name, site in self.sites.items()}
        return {"findings": list(self.findings), "basis": self.linear.json(), "sites": sites}

    @classmethod
    def of(cls, kept: dict[str, Any], name: str, arrays: Mapping[str, np.ndarray]) -> Question:
        """From what `json` and `arrays` gave."""
        own = {key.removeprefix(f"{name}."): value for key, value in arrays.items() if key.startswith(f"{name}.")}
        sites = {site: Site.of(f"at {site}", own, group) for site, group in kept["sites"].items()}
        return cls(kept["findings"], Linear.of(kept["basis"], own), sites, own["centre"])
