from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from common.evaluation.conformal import lowest_rate
from common.serving.app import create_app
from common.vision.images import png, to_base64
from manufacturing.visual_inspection import SYSTEM
from manufacturing.visual_inspection.serve import paint

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
    assert (predictor.calibration > strict["threshold"]).mean() <= 0.1


def test_a_promise_that_too_few_good_parts_back_is_refused_with_what_can_be_promised(client, predictor, split):
    asked = {"picture": to_base64(png(split["test"].picture[0])), "false_alarms_per_1000": 0.001}
    answer = client.post(URL, json=asked)
    assert answer.status_code == 422
    lowest = 1000 * lowest_rate(len(predictor.calibration))
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


@pytest.mark.parametrize("size", [(3, 3), (20, 400), (401, 17), (999, 1001)])
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
