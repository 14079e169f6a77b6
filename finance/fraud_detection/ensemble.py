"""What a model is here, and the mean of several: one champion may be of two kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

import numpy as np

from finance.fraud_detection.forest import Forest
from finance.fraud_detection.linear import Logistic
from finance.fraud_detection.network import Network
from finance.fraud_detection.steps import sequences

if TYPE_CHECKING:
    from common.bundle import Bundle
    from finance.fraud_detection.definition import Definition

KINDS: Mapping[str, type[Logistic] | type[Forest]] = {"logistic": Logistic, "xgboost": Forest, "lightgbm": Forest}
"""Those that are arrays alone; the sequence model is a graph too."""


class Inputs(NamedTuple):
    """What a model sees of transactions: features `x` float32 (rows, features), NaN where not known, and `steps`, the
    latest ones of the customer as `steps.sequences` gives them."""

    x: np.ndarray
    steps: np.ndarray

    @classmethod
    def of(cls, definition: Definition, counts: np.ndarray, time: np.ndarray, amount: np.ndarray) -> Inputs:
        """From counts int64 (rows, entities, counts), `time` ms and `amount` minor units int64 (rows,)."""
        return cls(definition.features(counts, time, amount), sequences(definition, counts, time, amount))

    def part(self, rows: slice | np.ndarray) -> Inputs:
        """Some of the rows."""
        return Inputs(self.x[rows], self.steps[rows])


class Model(Protocol):
    """Log-odds (rows,) of features and steps; what each feature adds (rows, features), or one column more for the
    steps; and what is written down."""

    def predict(self, x: np.ndarray, steps: np.ndarray) -> np.ndarray: ...  # noqa: D102
    def contributions(self, x: np.ndarray, steps: np.ndarray) -> np.ndarray: ...  # noqa: D102
    def arrays(self) -> dict[str, np.ndarray]: ...  # noqa: D102


@dataclass(frozen=True)
class Ensemble:
    """The mean log-odds of its parts, one or several."""

    parts: Mapping[str, Model]

    @property
    def name(self) -> str:
        """Such as `xgboost + sequence`."""
        return " + ".join(self.parts)

    def predict(self, x: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Log-odds float64 (rows,)."""
        return np.mean([part.predict(x, steps) for part in self.parts.values()], axis=0)

    def contributions(self, x: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """float64 (rows, features + 1): what each feature adds, and the customer's earlier transactions at last."""
        found = np.zeros((len(x), x.shape[1] + 1))
        for part in self.parts.values():
            adds = part.contributions(x, steps)
            found[:, : adds.shape[1]] += adds / len(self.parts)
        return found

    def arrays(self) -> dict[str, dict[str, np.ndarray]]:
        """Arrays by the file of a bundle that holds them; see `graphs` too."""
        return {f"{name}.safetensors": part.arrays() for name, part in self.parts.items()}

    def graphs(self) -> dict[str, bytes]:
        """The files for ONNX Runtime."""
        return {f"{name}.onnx": part.graph for name, part in self.parts.items() if isinstance(part, Network)}

    @classmethod
    def of_bundle(cls, bundle: Bundle, names: Sequence[str]) -> Self:
        """What `arrays` and `graphs` gave."""
        parts: dict[str, Model] = {}
        for name in names:
            arrays = bundle.arrays(f"{name}.safetensors")
            known = KINDS.get(name)
            parts[name] = known.of_arrays(arrays) if known else Network(bundle.read(f"{name}.onnx"), arrays["typical"])
        return cls(parts)
