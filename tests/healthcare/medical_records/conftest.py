"""A small bundle that reads notes by our own terms, fitted in seconds, and that of the preset sample."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from common.bundle import Bundle, save_bundle
from common.config import settings
from common.serving.app import create_app
from healthcare.medical_records import SYSTEM
from healthcare.medical_records.config import Config
from healthcare.medical_records.data import identified
from healthcare.medical_records.deid.fit_tagger import Fitting, fit_tagger
from healthcare.medical_records.dictionary import Dictionary, Term
from healthcare.medical_records.model import RecordReader
from healthcare.medical_records.serve import MedicalRecordsPredictor, Request
from healthcare.medical_records.spans import SNOMED, Code
from healthcare.medical_records.terms import abbreviation_terms, own_terms
from healthcare.medical_records.train import train

PNEUMONIA = Code(SNOMED, "233604007", "Pneumonia")


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle."""
    terms = [Term("pneumonia", "disease", (PNEUMONIA,)), *own_terms()]
    texts = identified(Config(identifiers={"plain": 600}))
    # Less wary than one that is meant for use: of so few texts it would mask half of every note.
    tagger = fit_tagger(texts, Fitting(epochs=4, clusters=(0, 0), sure=0.5))
    reader = RecordReader(Dictionary([*terms, *abbreviation_terms(terms)]), {}, tagger)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ESPALIER_HOME", str(tmp_path_factory.mktemp("home")))
        settings.cache_clear()
        bundle = save_bundle(
            SYSTEM,
            Config(),
            arrays={"model.safetensors": reader.arrays()},
            files=reader.files(),
            preprocess={},
            metrics={},
            data={"simulated": True, "cards": [], "split": "none", "test_rows_sha256": ""},
            reference={},
            examples=Request.model_config["json_schema_extra"]["examples"],
        )
    settings.cache_clear()
    return bundle


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home of its own, an audit in SQLite, a secret for surrogates and no language model."""
    for name in ("LLM_URL", "LLM_FOLDER", "KEYS_FILE", "REDIS_URL", "DATABASE_URL"):
        monkeypatch.delenv(f"ESPALIER_{name}", raising=False)
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("ESPALIER_RECORDS_KEY", "0123456789abcdef-secret")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def predictor(small: Bundle, environment: None) -> MedicalRecordsPredictor:
    return MedicalRecordsPredictor.load(small)


@pytest.fixture
def client(small: Bundle, environment: None) -> Iterator[TestClient]:
    """The service of the bundle, as in production."""
    app = create_app("healthcare", {SYSTEM.name: small.path}, systems=[SYSTEM])
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of the preset sample."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ESPALIER_HOME", str(tmp_path_factory.mktemp("home")))
        settings.cache_clear()
        bundle = train(Config())
    settings.cache_clear()
    return bundle


@pytest.fixture(scope="session")
def reader(trained: Bundle) -> RecordReader:
    return RecordReader.load(trained)
