from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from common.config import build_config, settings
from finance.credit_scoring.additive import AdditiveModel, Axis, Scale, Term
from finance.credit_scoring.config import PRESETS, Config
from finance.credit_scoring.data import load
from finance.credit_scoring.fields import CreditField
from finance.credit_scoring.serve import CreditPredictor
from finance.credit_scoring.train import train

LEVELS = ("it's", 'say "hi"', "naïve; DROP TABLE t", "back\\slash")
FIELDS = [
    CreditField(name="income", label="Income", optional=True),
    CreditField(name="loan", label="Loan", optional=True),
    CreditField(name="term", label="Term", optional=True),
    CreditField(name="late payments", label="Late", special=(-1.0, -2.5)),
    CreditField(name='so "called"', label="Text", kind="category", levels=LEVELS),
    CreditField(name="grade", label="Grade", kind="category", levels=(1, 2, 3)),
    CreditField(name="burden", label="Instalment by income", formula="loan / term / income"),
    CreditField(name="worst", label="Worst", formula="max(loan - income, income - loan, 0) / (term / (loan - 7))"),
]


def settings_at(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA_MIRROR", "OFFLINE", "TRACKING_URI", "SIGNING_KEY", "VERIFY_KEY"):
        monkeypatch.delenv(f"ESPALIER_{name}", raising=False)
    monkeypatch.setenv("ESPALIER_HOME", str(home))
    settings.cache_clear()


@pytest.fixture(scope="session")
def config() -> Config:
    return build_config(
        Config, PRESETS, "sample", ["rows=1200", "challenger.boosting.rounds=120", "challenger.boosting.patience=20"]
    )


@pytest.fixture(scope="session")
def bundle(config, tmp_path_factory):
    """A small bundle trained on simulated applicants."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        settings_at(tmp_path_factory.mktemp("home"), monkeypatch)
        made = train(config)
    settings.cache_clear()
    return made


@pytest.fixture(scope="session")
def applicants(config):
    """The data the bundle was trained on."""
    return load(config)


@pytest.fixture(scope="session", params=["scorecard", "challenger"])
def predictor(bundle, request) -> CreditPredictor:
    return CreditPredictor.of(bundle, request.param)


@pytest.fixture
def real_data(mirror_of, tmp_path, monkeypatch):
    """Use the mirror of published data, or skip."""
    settings_at(tmp_path, monkeypatch)
    monkeypatch.setenv("ESPALIER_DATA_MIRROR", str(mirror_of("credit-german")))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(scope="session")
def toy() -> SimpleNamespace:
    """Scorecards made of random numbers, and records that look for trouble."""
    return SimpleNamespace(fields=FIELDS, model=random_model, records=random_records, columns=columns_of)


def random_model(seed: int, resolution: int = 1) -> AdditiveModel:
    """Tables over `FIELDS` with awkward cuts, codes and, for odd seeds, missing in the bin of a number."""
    rng = np.random.default_rng(seed)

    def cuts() -> tuple[float, ...]:
        ways = [round(rng.uniform(-9, 99), 6), rng.normal(0, 10), 10 ** rng.uniform(-12, 12), 1 / 3, 5321.123456, 0.0]
        return tuple(sorted({float(rng.choice(ways)) for _ in range(rng.integers(0, 8))}))

    axes = []
    for field in FIELDS:
        if field.kind == "category":
            places = {level: int(rng.integers(0, 2)) for level in field.levels[:-1]}  # the last was never seen
            axes.append(Axis(field.name, (), places, missing=2, other=3))
            continue
        edges = cuts()
        first = len(edges) + 1
        codes = {code: first + i for i, code in enumerate(field.special)}
        axes.append(Axis(field.name, edges, codes, missing=int(rng.integers(0, first)) if seed % 2 else first + 2))
    terms = [Term((axis,), rng.integers(-90, 90, len(axis.cuts) + 5).astype(np.int32)) for axis in axes]
    terms.append(Term((axes[0],), rng.integers(-9, 9, len(axes[0].cuts) + 5).astype(np.int32)))
    base = int(rng.integers(300, 700)) * resolution
    return AdditiveModel(tuple(terms), base, resolution, Scale(base_odds=17, pdo=40))


def random_records(model: AdditiveModel, seed: int, count: int) -> list[dict]:
    """Records of ordinary, missing and extreme values, and of every cut point and the floats next to it."""
    rng = np.random.default_rng(seed)
    cuts = {field.name: [] for field in FIELDS}
    for axis in model.axes:
        for cut in axis.cuts:
            cuts[axis.field] += [cut, math.nextafter(cut, -math.inf), math.nextafter(cut, math.inf)]
    extremes = [None, math.nan, 0.0, -0.0, 0, 1, 7, -1, -2.5, 1e308, -1e308, math.inf, -math.inf, 5e-324, 2**53 - 1]

    def value(field: CreditField):
        if field.kind == "category":
            return rng.choice(np.array([*field.levels, None, "never seen"], dtype=object))
        kind = rng.integers(0, 4)
        if kind == 0:
            return extremes[rng.integers(len(extremes))]
        if kind == 1 and cuts[field.name]:
            return cuts[field.name][rng.integers(len(cuts[field.name]))]
        return int(rng.integers(-3, 60)) if kind == 2 else float(rng.normal(0, 30))

    return [{field.name: value(field) for field in FIELDS if not field.formula} for _ in range(count)]


def columns_of(records: list[dict], fields) -> dict:
    """The records column-wise, as `espalier score` passes them."""
    found = {}
    for field in fields:
        values = [record[field.name] for record in records]
        if field.kind == "category":
            levels = list(dict.fromkeys(v for v in values if v is not None))
            found[field.name] = (np.array([-1 if v is None else levels.index(v) for v in values], dtype=int), levels)
        else:
            found[field.name] = np.array([math.nan if v is None else v for v in values], dtype=float)
    return found
