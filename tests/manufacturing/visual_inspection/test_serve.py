from __future__ import annotations

import base64
import copy
import io

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from common.config import settings
from common.console.form import fields_of
from common.console.words import speaker
from common.monitoring.report import MonitorPolicy
from common.serving.app import create_app
from common.vision.images import png, to_base64
from manufacturing.visual_inspection import SYSTEM
from manufacturing.visual_inspection.serve import Inspection, InspectionPredictor, Verdict, paint

URL = "/v1/visual_inspection/predict"


@pytest.fixture(scope="module")
def client(predictor):
    with TestClient(create_app("manufacturing", systems=[SYSTEM], predictors={SYSTEM.name: predictor})) as client:
        yield client


def as_text(picture: Image.Image, kind: str = "PNG") -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind)
    return base64.b64encode(buffer.getvalue()).decode()


def test_the_verdict_follows_score_and_threshold_and_the_map_has_the_pictures_shape(client, split):
    for picture in split["test"].picture[:6]:
        answer = client.post(URL, json={"picture": to_base64(png(picture))}).json()
        assert answer["defective"] == (answer["score"] > answer["threshold"])
        assert answer["simulated"]
        with Image.open(io.BytesIO(base64.b64decode(answer["heat_map"]))) as heat:
            assert heat.size == picture.shape[::-1]


def test_a_stricter_promise_raises_the_threshold_and_leaves_the_score(client, predictor, split):
    asked = {"picture": to_base64(png(split["test"].picture[0]))}
    lenient, strict = (client.post(URL, json=asked | {"false_alarms_per_1000": k}).json() for k in (400, 100))
    assert lenient["threshold"] < strict["threshold"]
    assert lenient["score"] == strict["score"]
    assert (lenient["false_alarms_per_1000"], strict["false_alarms_per_1000"]) == (400, 100)
    assert (predictor.calibration.score > strict["threshold"]).mean() <= 0.1


def test_a_promise_that_too_few_good_parts_back_is_refused_with_what_can_be_promised(client, predictor, split):
    asked = {"picture": to_base64(png(split["test"].picture[0])), "false_alarms_per_1000": 0.001}
    answer = client.post(URL, json=asked)
    assert answer.status_code == 422
    lowest = 1000 * predictor.calibration.lowest_rate
    assert f"expected at least {lowest:.3g}" in answer.json()["detail"]


GREY = Image.fromarray(np.tile(np.arange(100, dtype=np.uint8), (90, 1)))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("not base64!", "picture: not base64"),
        (base64.b64encode(b"plain text").decode(), "picture: not a picture"),
        (as_text(GREY)[:100], "picture: the picture cannot be read"),
        (as_text(GREY.convert("CMYK"), "TIFF"), "unsupported mode: got CMYK, expected 8 bits"),
        (as_text(Image.fromarray(np.zeros((80, 80), np.uint16))), "unsupported mode: got I;16"),
    ],
)
def test_what_is_no_plain_picture_is_refused_in_a_sentence(client, text, sentence):
    answer = client.post(URL, json={"picture": text})
    assert answer.status_code == 422
    assert sentence in answer.json()["detail"]


def test_one_bad_picture_in_a_batch_is_named(client, split):
    good = {"picture": to_base64(png(split["test"].picture[0]))}
    answer = client.post(f"{URL}/batch", json={"rows": [good, {"picture": "AAAA"}]})
    assert answer.status_code == 422
    assert "not a picture" in answer.json()["detail"]


@pytest.mark.parametrize("size", [(32, 32), (40, 400), (401, 33), (999, 1001)])
def test_any_size_and_colour_is_answered(client, size):
    picture = GREY.resize(size).convert("RGB")
    for kind in ("PNG", "JPEG"):
        answer = client.post(URL, json={"picture": as_text(picture, kind), "any_way_up": True})
        assert answer.status_code == 200, answer.text
        assert np.isfinite(answer.json()["score"])


def test_a_patch_far_over_the_threshold_is_painted_brighter_than_one_below():
    heat = np.array([[-5.0, 2.0], [4.0, 100.0]], np.float32)
    light = paint(heat, (64, 64), 4.0).astype(int).sum(-1)
    assert light[0, 0] < light[0, -1] < light[-1, -1] == PALEST
    assert light[-1, 0] > light[0, -1]


PALEST = 255 + 255 + 180


@pytest.fixture(scope="module")
def service(bundle, tmp_path_factory):
    """The bundle as it is served: with audit log and monitor."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("ESPALIER_HOME", str(tmp_path_factory.mktemp("service")))
        settings.cache_clear()
        with TestClient(create_app("manufacturing", {SYSTEM.name: bundle.path}, systems=[SYSTEM])) as client:
            yield client
    settings.cache_clear()


def test_a_dark_part_is_told_at_once_and_the_monitor_names_brightness(service, split):
    monitor = service.app.state.slots[0].live().monitor
    monitor.policy = MonitorPolicy(min_rows=40)
    pictures = split["train"].picture  # of the reference, so that only the light differs
    usual = service.post(URL, json={"picture": to_base64(png(pictures[-1]))}).json()
    assert usual["light"] == "usual"
    assert usual["brightness"] == pytest.approx(pictures[-1].mean(), abs=0.01)
    rows = [{"picture": to_base64(png((p * 0.6).astype(np.uint8)))} for p in pictures]
    answers = service.post(f"{URL}/batch", json={"rows": rows}).json()["rows"]
    assert "unusual" in {answer["light"] for answer in answers}
    assert {answer["light"] for answer in answers if answer["brightness"] < 40} == {"unusual"}
    monitor.fold()
    monitor.judge()
    [run] = service.get("/v1/monitor").json()
    alarms = {(alarm["kind"], alarm["field"]) for alarm in run["windows"][-1]["alarms"]}
    assert {("input_drift", "brightness"), ("prediction_drift", "brightness")} & alarms
    assert "sharpness" not in {field for _, field in alarms}
    assert "brightness moved" in service.get("/v1/monitor/visual_inspection").text


def test_a_part_upside_down_is_refused_in_a_sentence_unless_any_way_up_is_said(service, bundle, split):
    assert bundle.json("metrics.json")["upright_checked"]
    assert "a part upside down is refused" in service.get("/v1/models/visual_inspection").json()["card"]
    picture = split["test"].picture[-1]
    asked = {"picture": to_base64(png(np.rot90(picture, 2)))}
    refused = service.post(URL, json=asked)
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("picture: the part seems to be upside down; turn it, or say any_way_up")
    allowed = service.post(URL, json=asked | {"any_way_up": True})
    assert allowed.status_code == 200
    assert service.post(URL, json={"picture": to_base64(png(picture))}).status_code == 200


def test_the_promise_route_tells_thresholds_and_what_operators_said(service, predictor, split):
    sent = {"picture": to_base64(png(split["test"].picture[-1]))}
    decision = service.post(URL, json=sent).headers["x-decision-id"]
    label = {"labels": [{"decision": decision, "label": "false_alarm"}]}
    assert service.post("/v1/feedback", json=label).status_code == 200
    told = service.get("/v1/visual_inspection/promise").json()
    assert told["calibration_parts"] == predictor.calibration.parts
    assert told["lowest_false_alarms_per_1000"] == pytest.approx(1000 / (predictor.calibration.parts + 1))
    promises = [one["false_alarms_per_1000"] for one in told["table"]]
    thresholds = [one["threshold"] for one in told["table"]]
    assert promises == sorted(promises)
    assert thresholds == sorted(thresholds, reverse=True)
    for one in (told["table"][0], told["default"]):
        asked = sent | {"false_alarms_per_1000": one["false_alarms_per_1000"]}
        assert service.post(URL, json=asked).json()["threshold"] == one["threshold"]
    assert told["measured"]["labels"] == {"false_alarm": 1, "missed": 0, "confirmed": 0}
    assert told["measured"]["false_alarms_per_1000"] == pytest.approx(1000 / told["measured"]["inspected"])


def test_without_a_record_nothing_is_measured(client, monkeypatch):
    monkeypatch.setattr(settings(), "audit", False)
    assert client.get("/v1/visual_inspection/promise").json()["measured"] is None


def test_tiles_give_the_verdict_and_the_map_of_the_whole_picture(predictor):
    rng = np.random.default_rng(0)
    picture = np.clip(rng.normal(120, 30, (700, 1100)), 0, 255).astype(np.uint8)
    picture[300:330, 500:540] = 250
    cut = copy.copy(predictor)
    cut.tiles = predictor.tiles | {"side": 512, "overlap": 352}
    whole, parts = (one.measure(picture, 1.0) for one in (predictor, cut))
    assert parts[0] == pytest.approx(whole[0], abs=1e-3)
    assert parts[1] == whole[1]
    assert parts[2].shape == whole[2].shape
    assert np.abs(parts[2] - whole[2]).max() < 1e-2


def test_a_picture_of_several_megabytes_is_served_by_every_way(service):
    noise = np.random.default_rng(0).integers(0, 256, (900, 1000, 3), np.uint8)
    text = as_text(Image.fromarray(noise))
    assert len(text) > 3_000_000
    sent = {"picture": text, "any_way_up": True}
    assert service.post(URL, json=sent).status_code == 200
    tensors = [
        {"name": "picture", "datatype": "BYTES", "shape": [1], "data": [text]},
        {"name": "any_way_up", "datatype": "BOOL", "shape": [1], "data": [True]},
    ]
    answer = service.post("/v2/models/visual_inspection/infer", json={"inputs": tensors})
    assert answer.status_code == 200, answer.text
    found = {output["name"]: output["data"][0] for output in answer.json()["outputs"]}
    assert found["light"] in ("usual", "unusual")
    assert isinstance(found["score"], float)
    too_large = service.post(URL, json={"picture": "A" * (InspectionPredictor.body_bytes + 1)})
    assert too_large.status_code == 413


def test_the_console_asks_for_a_picture_and_speaks_chinese():
    fields = {field.name: field for field in fields_of(Inspection.model_json_schema())}
    assert (fields["picture"].kind, fields["picture"].media) == ("image", "image/png")
    assert fields["any_way_up"].kind == "yes_no"
    say = speaker("zh", InspectionPredictor)
    words = [field.label for field in fields.values()]
    words += [name.replace("_", " ") for name in Verdict.model_fields if name not in ("model", "simulated")]
    untranslated = [word for word in [*words, "usual", "unusual"] if say(word) == word]
    assert untranslated == []


def test_serving_imports_no_torch(bundle):
    import subprocess
    import sys

    code = (
        "import sys; from common.bundle import load_bundle; "
        "from manufacturing.visual_inspection.serve import InspectionPredictor; "
        f"InspectionPredictor.load(load_bundle({str(bundle.path)!r})); "
        "print([m for m in ('torch', 'pandas', 'sklearn', 'accelerate') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
