from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.evaluation.stability import reference_histogram


@pytest.fixture
def reference() -> dict[str, dict[str, Any]]:
    """A number, a category, a flag with missing values, and a score, from 2,000 rows."""
    generator = np.random.default_rng(7)
    amount = generator.lognormal(7, 0.5, 2000)
    return {
        "amount": {**reference_histogram(amount), "range": [float(amount.min()), float(amount.max())]},
        "kind": reference_histogram(generator.choice(["a", "b", "c"], 2000, p=[0.6, 0.3, 0.1])),
        "flag": reference_histogram(np.where(generator.random(2000) < 0.1, np.nan, generator.integers(0, 2, 2000))),
        "score": reference_histogram(generator.normal(500, 50, 2000)),
    }


@pytest.fixture
def records() -> Callable[..., list[dict[str, Any]]]:
    """`records(n, seed)`: rows from where the reference came from; keywords replace a column."""

    def draw(n: int, seed: int = 0, **replaced: Any) -> list[dict[str, Any]]:
        generator = np.random.default_rng(seed)
        flag = np.where(generator.random(n) < 0.1, np.nan, generator.integers(0, 2, n))
        columns: dict[str, Any] = {
            "amount": np.clip(generator.lognormal(7, 0.5, n), 300, 5000),
            "kind": generator.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1]),
            "flag": flag,
            "score": generator.normal(500, 50, n),
        }
        columns |= replaced
        return [
            {name: None if value != value else value for name, value in zip(columns, row, strict=True)}
            for row in zip(*(np.asarray(column).tolist() for column in columns.values()), strict=True)
        ]

    return draw
