from __future__ import annotations

import pandas as pd
import pytest
from learnt import config

from common.bundle import Bundle, load_bundle
from common.config import settings
from common.errors import DataError
from manufacturing.production_scheduling.config import Plant
from manufacturing.production_scheduling.durations import Durations
from manufacturing.production_scheduling.evaluate_learning import evaluate
from manufacturing.production_scheduling.history import OPTIONAL, REQUIRED
from manufacturing.production_scheduling.plant import simulate
from manufacturing.production_scheduling.policy import Policy
from manufacturing.production_scheduling.problem import Problem
from manufacturing.production_scheduling.train import train


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A history in a file, and the bundle that was trained on it."""
    folder = tmp_path_factory.mktemp("own")
    made = simulate(Plant(weeks=12, orders=60, machines=5), 4)
    frame = pd.DataFrame({name: getattr(made, name) for name in (*REQUIRED, *OPTIONAL)})
    for name in ("start", "end"):
        frame[name] = pd.to_datetime(frame[name], unit="s", utc=True).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    frame.loc[::7, "quantity"] = None
    frame.to_csv(folder / "own.csv", index=False)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("ESPALIER_HOME", str(folder / "home"))
        monkeypatch.chdir(folder)
        settings.cache_clear()
        bundle = train(config().model_copy(update={"dataset": "own.csv"}))
    settings.cache_clear()
    return folder / "own.csv", bundle


def test_a_bundle_of_ones_own_history(own):
    path, bundle = own
    assert not bundle.manifest.simulated
    assert bundle.manifest.config["dataset"] == str(path)  # found again from any folder
    assert "O1" not in bundle.read("preprocess.json").decode(), "operators are learnt by name"
    loaded = load_bundle(bundle.path)
    problem = Problem.model_validate(loaded.examples()[0]["request"]["problem"])
    assert Durations.of_bundle(loaded).quantiles(problem).ratio.shape[0] == problem.size
    schedule = Policy.of_bundle(loaded).plan(problem)
    assert schedule is not None


def test_it_is_evaluated_on_the_weeks_that_were_kept_closed(own):
    path, bundle = own
    report, sections = evaluate(bundle)
    assert not report.simulated
    assert report.metrics["pinball"].high < report.floor["pinball"]
    assert [section.title for section in sections] == ["Processing times", "Dispatching"]
    text = path.read_text()
    try:
        path.write_text("".join(text.splitlines(keepends=True)[:-1]))
        with pytest.raises(DataError, match="the test part is not the one"):
            evaluate(bundle)
    finally:
        path.write_text(text)


def test_the_files_of_a_bundle_are_data(own):
    bundle: Bundle = own[1]
    kinds = {name.rsplit(".", 1)[-1] for name in bundle.manifest.files}
    assert kinds == {"json", "jsonl", "md", "safetensors", "txt"}
