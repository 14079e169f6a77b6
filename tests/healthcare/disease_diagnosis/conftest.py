from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from common.config import build_config, settings
from common.data.card import load_card
from healthcare.disease_diagnosis.config import PRESETS, Config
from healthcare.disease_diagnosis.data import Patients, age_band, fields_of, labels_of, load
from healthcare.disease_diagnosis.knowledge import BEDSIDE, FINDINGS, FURTHER, HEART, SEVERITY, USUAL
from healthcare.disease_diagnosis.serve import DiagnosisPredictor
from healthcare.disease_diagnosis.train import train, train_patients

PATIENTS = {"cleveland": 240, "elsewhere": 160}


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A home of its own, in which bundles are made."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("ESPALIER_HOME", str(tmp_path_factory.mktemp("home")))
        settings.cache_clear()
        yield
    settings.cache_clear()


@pytest.fixture
def real_data(mirror_of, tmp_path, monkeypatch):
    """Use the mirror of published data, or skip."""
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    monkeypatch.setenv("ESPALIER_DATA_MIRROR", str(mirror_of(HEART)))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(scope="session")
def config() -> Config:
    return build_config(Config, PRESETS, "sample", [])


@pytest.fixture(scope="session")
def breast(home, config) -> DiagnosisPredictor:
    """Trained on the data that scikit-learn ships."""
    return DiagnosisPredictor.load(train(config))


@pytest.fixture(scope="session")
def chest_config() -> Config:
    return build_config(Config, PRESETS, "chest-sample", ["pictures=240"])


@pytest.fixture(scope="session")
def chests(chest_config):
    return load(chest_config)


@pytest.fixture(scope="session")
def chest_bundle(home, chest_config):
    """Trained on simulated chests."""
    return train(chest_config)


@pytest.fixture(scope="session")
def chest(chest_bundle) -> DiagnosisPredictor:
    return DiagnosisPredictor.load(chest_bundle)


@pytest.fixture(scope="session")
def heart_config() -> Config:
    return build_config(Config, PRESETS, "heart", [])


@pytest.fixture(scope="session")
def patients() -> Patients:
    """Made-up heart patients of two centres; the second does neither fluoroscopy nor thallium and is sicker."""
    card = load_card(HEART)
    rng, fields = np.random.default_rng(0), fields_of(card)
    count = sum(PATIENTS.values())
    site = np.repeat(list(PATIENTS), list(PATIENTS.values()))
    y = (rng.random(count) < np.where(site == "cleveland", 0.45, 0.7)).astype(int)
    columns = {}
    for field in fields:
        if field.kind == "category":
            likely = np.where(y == 1, len(field.levels) - 1, 0)
            code = np.where(rng.random(count) < 0.5, likely, rng.integers(0, len(field.levels), count))
            values = pd.Series(np.array(field.levels, object)[code], dtype=object)
        else:
            middle, width = (field.minimum + field.maximum) / 2, (field.maximum - field.minimum) / 12
            values = pd.Series(
                np.round(np.clip(rng.normal(middle + y * width, width), field.minimum, field.maximum), 1)
            )
        if field.name in ("ca", "thal"):
            values = values.where(site == "cleveland", None if field.kind == "category" else np.nan)
        columns[field.name] = values
    frame = pd.DataFrame(columns)
    return Patients(
        id=HEART,
        frame=frame,
        y=y,
        fields=fields,
        groups=np.arange(count),
        row=np.arange(count),
        site=site,
        sex=frame["sex"].to_numpy(str),
        age=age_band(frame["age"].to_numpy()),
        findings=FINDINGS[HEART],
        sha256="",
        title="made up",
        licence="none needed",
        simulated=True,
    )


@pytest.fixture(scope="session")
def heart_bundle(home, heart_config, patients):
    """Trained on the made-up patients."""
    return train_patients(heart_config, patients)


@pytest.fixture(scope="session")
def heart(heart_bundle) -> DiagnosisPredictor:
    return DiagnosisPredictor.load(heart_bundle)


@pytest.fixture(scope="session")
def graded(patients) -> Patients:
    """The same people; their disease has grades, the higher the more the exercise test shows."""
    level = patients.frame["oldpeak"].rank(pct=True).to_numpy() + np.random.default_rng(1).normal(0, 0.2, len(patients))
    grade = 1 + np.digitize(level, np.quantile(level, [0.4, 0.7, 0.9]))
    return replace(patients, y=np.where(patients.y == 1, grade, 0), findings=SEVERITY)


@pytest.fixture(scope="session")
def several(patients) -> Patients:
    """The same people, asked at the bedside for three findings; the second centre has no thallium scans."""
    further = {name: labels_of(patients.frame[name].to_numpy(), USUAL[name]) for name in FURTHER}
    fields = tuple(field for field in patients.fields if field.test in BEDSIDE)
    frame = patients.frame[[field.name for field in fields]]
    return replace(patients, frame=frame, fields=fields, further=further)


@pytest.fixture(scope="session")
def severity(home, graded) -> DiagnosisPredictor:
    """Trained on graded patients."""
    return DiagnosisPredictor.load(train_patients(build_config(Config, PRESETS, "severity", []), graded))


@pytest.fixture(scope="session")
def bedside(home, several) -> DiagnosisPredictor:
    """Trained on patients asked for three findings."""
    return DiagnosisPredictor.load(train_patients(build_config(Config, PRESETS, "findings", []), several))
