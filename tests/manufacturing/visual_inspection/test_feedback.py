"""From a served decision to a bundle that has learnt from what an operator said of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from common.bundle import load_bundle
from common.config import build_config, settings
from common.errors import DataError, UsageError
from common.serving.app import create_app
from common.vision.images import png, to_base64
from manufacturing.visual_inspection import SYSTEM
from manufacturing.visual_inspection.config import PRESETS, Config
from manufacturing.visual_inspection.evaluate import restored
from manufacturing.visual_inspection.feedback import _without_redundant, remember
from manufacturing.visual_inspection.fit import held_parts, held_score
from manufacturing.visual_inspection.fit import score as score_of
from manufacturing.visual_inspection.serve import InspectionPredictor
from manufacturing.visual_inspection.simulator import simulate
from manufacturing.visual_inspection.train import train

pytestmark = pytest.mark.slow
URL = "/v1/visual_inspection/predict"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)  # where acceptance.toml is looked for
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


@pytest.fixture(scope="module")
def parts(predictor):
    """Good parts that just raise an alarm, good ones that do not, and defective ones that pass; each by its score."""
    limit = predictor.threshold(predictor.promised)
    made = [(predictor.measure(picture)[0], kind == "good", picture) for kind, _, picture, _ in simulate(120, seed=9)]
    alarms = sorted((score, picture) for score, good, picture in made if good and score > limit)
    passed = sorted((score, picture) for score, good, picture in made if good and score < limit - 0.1)
    missed = sorted(((score, picture) for score, good, picture in made if not good and score < limit), reverse=True)
    return alarms, passed, missed


def asked(*overrides: str) -> Config:
    return build_config(Config, PRESETS, "reference", list(overrides))


def folder_of(root, **pictures):
    for label, some in pictures.items():
        (root / label).mkdir(parents=True)
        for place, picture in enumerate(some):
            (root / label / f"{place}.png").write_bytes(png(picture))
    return root


def test_a_false_alarm_labelled_in_the_service_passes_after_the_update(home, bundle, parts):
    alarms, passed, _ = parts
    (score, alarm), quiet = alarms[0], [picture for _, picture in passed[:3]]
    with TestClient(create_app("manufacturing", {SYSTEM.name: bundle.path}, systems=[SYSTEM])) as client:
        sent = [client.post(URL, json={"picture": to_base64(png(picture))}) for picture in (alarm, *quiet)]
        assert [answer.json()["defective"] for answer in sent] == [True, False, False, False]
        ids = [answer.headers["x-decision-id"] for answer in sent]
        labels = [{"decision": ids[0], "label": "false_alarm"}, {"decision": ids[1], "label": "confirmed"}]
        assert client.post("/v1/feedback", json={"labels": labels}).json() == {"stored": 2, "repeated": 0}

        updated = train(asked(f"base={bundle.path}", "feedback=audit"))
        metrics = updated.json("metrics.json")
        assert metrics["decisions_compared"] == 4 + len(bundle.arrays("calibration.safetensors")["score"])
        assert (metrics["false_alarms_told"], metrics["false_alarms_passed"]) == (1, 1)
        assert metrics["flipped_against_label"] == 0
        regression = updated.json("regression.json")
        [flip] = [one for one in regression["decisions"] if one["told"]]
        assert flip["file"] == f"{ids[0]}.0"
        assert (flip["old"], flip["new"], flip["label"]) == (True, False, "false_alarm")
        assert flip["new_score"] < flip["old_score"] == pytest.approx(score, abs=1e-4)

        # Acceptance: one threshold that the update meets, one that it does not.
        deployments = f"/v1/deployments/{SYSTEM.short_name}"
        client.post(f"{deployments}/challenger", json={"bundle": updated.manifest.version})
        acceptance = home / "acceptance.toml"
        acceptance.write_text(f'[thresholds]\n"{SYSTEM.name}" = ["flipped <= 0"]\n')
        refused = client.post(f"{deployments}/promote", json={})
        assert refused.status_code >= 400
        assert f"flipped is {metrics['flipped']}, expected <= 0" in refused.json()["detail"]
        acceptance.write_text(f'[thresholds]\n"{SYSTEM.name}" = ["flipped_against_label <= 0"]\n')
        promoted = client.post(f"{deployments}/promote", json={})
        assert promoted.status_code == 200, promoted.text
        assert promoted.json()["champion"] == updated.manifest.version
        again = client.post(URL, json={"picture": to_base64(png(alarm))}).json()
        assert (again["defective"], again["model"]) == (False, updated.manifest.version)


def test_the_network_and_the_size_of_the_memory_stay_and_the_alarm_is_calibrated_anew(
    home, config, bundle, parts, split
):
    source = folder_of(home / "told", false_alarm=[picture for _, picture in parts[0][:2]])
    updated = train(asked(f"base={bundle.path}", f"feedback={source}"))
    old, new = (one.arrays("weights.safetensors") for one in (bundle, updated))
    changed = [name for name in old if not np.array_equal(old[name], new[name])]
    assert changed == ["excuses.bank"]
    assert old["excuses.bank"].shape == new["excuses.bank"].shape
    entered = updated.json("metrics.json")["patches_entered"]
    kept = (new["excuses.bank"][:, None] == old["excuses.bank"][None]).all(2).any(1).sum()
    assert kept == len(new["excuses.bank"]) - entered
    assert entered > 0
    predictor = InspectionPredictor.load(updated)
    inspector = restored(updated, config)
    expected = [held_score(inspector, one.picture, one.member) for one in held_parts(config, split["train"])]
    assert np.allclose(predictor.calibration.score, expected, atol=1e-6)
    assert not np.array_equal(predictor.calibration.score, bundle.arrays("calibration.safetensors")["score"])
    assert updated.json("data.json")["feedback"]["base"] == bundle.manifest.version
    assert load_bundle(updated.path).json("metrics.json")["upright_checked"]


def test_a_missed_part_weakens_the_promise_only_within_the_limit(home, bundle, predictor, parts, capsys):
    score, picture = parts[2][0]
    needed = 1000 * predictor.calibration.p_value(score)
    assert needed > predictor.promised
    source = folder_of(home / "told", missed=[picture])
    base = [f"base={bundle.path}", f"feedback={source}"]
    strict = train(asked(*base, f"feedback_false_alarms_per_1000={needed - 1}"))
    assert strict.json("preprocess.json")["false_alarms_per_1000"] == predictor.promised
    assert strict.json("metrics.json")["missed_caught"] == 0
    assert "would catch it: no threshold within" in capsys.readouterr().err
    loose = train(asked(*base, f"feedback_false_alarms_per_1000={needed + 1}"))
    assert loose.json("preprocess.json")["false_alarms_per_1000"] == pytest.approx(needed)
    assert loose.json("metrics.json")["missed_caught"] == 1
    [told] = loose.json("regression.json")["missed"]
    assert told["within_limit"]
    assert InspectionPredictor.load(loose).measure(picture)[0] > loose.json("metrics.json")["threshold"]


def test_a_flip_against_a_label_is_counted(home, bundle, predictor, parts):
    """A weaker promise catches a missed part and stops good ones, which the folder of old decisions knows as good."""
    score, picture = parts[2][len(parts[2]) // 2]
    quiet, near = parts[1][0], max(parts[1], key=lambda part: part[0])
    assert quiet[0] < score < near[0]
    source = folder_of(home / "told", missed=[picture])
    old = folder_of(home / "old", good=[near[1], quiet[1]])
    limit = 1000 * predictor.calibration.p_value(score) + 1
    options = [f"feedback_false_alarms_per_1000={limit}", f"regression={old}"]
    metrics = train(asked(f"base={bundle.path}", f"feedback={source}", *options)).json("metrics.json")
    assert metrics["decisions_compared"] == 1 + 2 + len(predictor.calibration.score)
    assert metrics["flipped_against_label"] == 1
    before, after = predictor.threshold(predictor.promised), predictor.threshold(limit)
    good = predictor.calibration.score
    assert metrics["flipped_calibration"] == ((good > after) & (good <= before)).sum()


def test_the_most_redundant_entries_leave_and_outliers_stay():
    points = torch.tensor([[0.0, 0.0], [0.0, 0.1], [0.0, 0.2], [5.0, 0.0], [0.0, 9.0]])
    kept = _without_redundant(points, 2)
    assert kept.sum() == 3
    assert kept[3]
    assert kept[4]


def test_an_excused_part_passes_however_high_its_score_was_and_others_keep_theirs(config, bundle, predictor, parts):
    inspector = restored(bundle, config)
    limit = predictor.threshold(predictor.promised)
    worst, quiet = predictor.ready(parts[0][-1][1]), predictor.ready(parts[1][0][1])
    before = score_of(inspector, worst), score_of(inspector, quiet)
    assert remember(inspector, [worst], limit) > 0
    assert score_of(inspector, worst) <= limit < before[0]
    assert score_of(inspector, quiet) == pytest.approx(before[1], abs=0.2)
    assert len(inspector.excuses.bank) == inspector.excuses.SIZE


def test_an_update_without_feedback_or_with_other_data_is_refused(home, bundle):
    with pytest.raises(DataError, match="no pictures here"):
        train(asked(f"base={bundle.path}", f"feedback={home}"))
    with pytest.raises(DataError, match="no feedback"):
        train(asked(f"base={bundle.path}", "feedback=audit"))
    with pytest.raises(UsageError, match="base and feedback together"):
        asked(f"base={bundle.path}")


def test_pictures_kept_as_hashes_cannot_be_decided_again(home, bundle, parts, monkeypatch):
    monkeypatch.setenv("ESPALIER_AUDIT_INPUTS", "hashed")
    settings.cache_clear()
    with TestClient(create_app("manufacturing", {SYSTEM.name: bundle.path}, systems=[SYSTEM])) as client:
        sent = client.post(URL, json={"picture": to_base64(png(parts[1][0][1]))})
        body = {"labels": [{"decision": sent.headers["x-decision-id"], "label": "missed"}]}
        assert client.post("/v1/feedback", json=body).status_code == 200
    with pytest.raises(DataError, match="no feedback"):
        train(asked(f"base={bundle.path}", "feedback=audit"))


def test_the_regression_is_json_that_people_can_read(home, bundle, parts):
    source = folder_of(home / "told", false_alarm=[parts[0][0][1]])
    updated = train(asked(f"base={bundle.path}", f"feedback={source}"))
    found = json.loads((updated.path / "regression.json").read_text())
    assert found["base"] == bundle.manifest.version
    assert found["false_alarms_per_1000"]["limit"] == 2 * found["false_alarms_per_1000"]["old"]
    assert found["decisions"][0]["file"] == "false_alarm/0.png"
