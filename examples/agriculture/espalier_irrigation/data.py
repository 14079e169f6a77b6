"""Where the data comes from: simulated fields. The only room that knows; put your own data here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.data.split import stratified_split
from common.files import sha256


@dataclass(frozen=True)
class Feature:
    """One input: what it is, and the range that is possible."""

    label: str
    minimum: float
    maximum: float


FEATURES = {
    "soil_moisture": Feature("Water in the soil, per cent by volume", 0, 60),
    "temperature": Feature("Mean temperature forecast, degrees Celsius", -20, 50),
    "humidity": Feature("Mean relative humidity forecast, per cent", 0, 100),
    "days_without_rain": Feature("Days since the last rain", 0, 365),
}
DATASET = "irrigation-simulated"
SIMULATED = True
FRACTIONS = {"train": 0.6, "valid": 0.2, "test": 0.2}


@dataclass(frozen=True)
class Data:
    """Inputs `x`, shape (n, features) in the order of `FEATURES`, and `y`, 1 for the event."""

    x: np.ndarray
    y: np.ndarray

    @property
    def sha256(self) -> str:
        """The fingerprint of the data."""
        return sha256(self.x.tobytes() + self.y.tobytes())

    def split(self, seed: int) -> dict[str, Data]:
        """train, valid and test; equal shares of the event in each."""
        parts = stratified_split(self.y, None, FRACTIONS, seed)
        return {name: Data(self.x[rows], self.y[rows]) for name, rows in parts.items()}


def load(rows: int, seed: int) -> Data:
    """Rows drawn evenly from the possible ranges; dry, hot and long without rain means drought stress."""
    rng = np.random.default_rng(seed)
    low, high = np.array([(feature.minimum, feature.maximum) for feature in FEATURES.values()]).T
    share = rng.random((rows, len(FEATURES)))
    log_odds = share @ np.array([-4.0, 3.0, -2.0, 3.0])
    y = rng.random(rows) < 1 / (1 + np.exp(-log_odds))
    return Data(low + share * (high - low), y.astype(np.int64))
