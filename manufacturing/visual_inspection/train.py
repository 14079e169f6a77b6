"""From pictures of good parts to a bundle: detectors, calibrated alarm, export."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from common.bundle import Bundle, save_bundle
from common.evaluation.stability import reference_histogram
from common.files import sha256
from common.vision.images import MULTIPLE, png, to_base64
from common.vision.quality import quality, usual
from manufacturing.visual_inspection import SYSTEM
from manufacturing.visual_inspection.config import Config
from manufacturing.visual_inspection.data import GOOD, Pictures, load, located
from manufacturing.visual_inspection.detectors import STRIDE
from manufacturing.visual_inspection.export import export, weights_of
from manufacturing.visual_inspection.feedback import update
from manufacturing.visual_inspection.fit import Fitted, fit
from manufacturing.visual_inspection.synthetic import KINDS, add_defect
from manufacturing.visual_inspection.upright import Upright, learn

NOTHING_FLIPPED = {"flipped": 0, "flipped_against_label": 0, "decisions_compared": 0}  # a first bundle has no elder


def train(config: Config) -> Bundle:
    """Load, split, fit, calibrate, export and save, or update `base` by feedback; the test part is not looked at."""
    if config.base:
        return save_bundle(SYSTEM, **update(config))
    config = config.model_copy(update={"dataset": located(config.dataset)})
    data = load(config)
    split = data.split(config.protocol, config.seed)
    fitted = fit(config, split["train"])
    return _save(config, data, split, fitted)


def _save(config: Config, data: Pictures, split: dict[str, Pictures], fitted: Fitted) -> Bundle:
    good = split["train"].rows_of(GOOD)
    upright, accuracy = learn(good.picture, good.tile)
    light = [quality(picture) for picture in good.picture]
    seen = usual(light)
    return save_bundle(
        SYSTEM,
        config,
        arrays={
            "weights.safetensors": weights_of(fitted.inspector),
            "calibration.safetensors": fitted.calibration.arrays(),
        },
        files=export(fitted.inspector),
        preprocess={
            "scale": config.scale,
            "false_alarms_per_1000": config.false_alarms_per_1000,
            "tiles": {**config.tiles.model_dump(), "stride": MULTIPLE, "cell": STRIDE},
            "light": {name: seen[name] for name in ("brightness", "contrast")},
            "upright": upright.json() if upright else None,
        },
        metrics=fitted.metrics | _of_upright(upright, accuracy) | NOTHING_FLIPPED,
        data={
            "cards": [{"id": data.id, "title": data.title, "licence": data.licence, "sha256": data.sha256}],
            "simulated": data.simulated,
            "split": f"{config.protocol}, {config.folds} folds of the good parts, seed {config.seed}",
            "left_out": [asdict(one) for one in data.left_out],
            "notes": [_note(upright)],
            "test_rows_sha256": sha256("\n".join(split["test"].name).encode()),
        },
        reference={"score": reference_histogram(fitted.calibration.score)}
        | {name: reference_histogram([one[name] for one in light]) | {"range": seen[name]} for name in seen},
        examples=_examples(config, good),
    )


def _of_upright(upright: Upright | None, accuracy: float) -> dict[str, Any]:
    """Whether a part upside down is refused, and how many good parts that costs."""
    checked = {"upright_refused_per_1000": 1000 * upright.refused} if upright else {}
    return {"upright_accuracy": accuracy, "upright_checked": upright is not None, **checked}


def _note(upright: Upright | None) -> str:
    if upright is None:
        return "way up: these parts have no up side that can be told, so it is not checked"
    rate = 1000 * upright.refused
    return f"way up: a part upside down is refused, and by mistake at most {rate:.3g} of 1,000 good ones"


def _examples(config: Config, parts: Pictures) -> list[dict[str, Any]]:
    """Requests: good parts, and the first of them with defects, which may hide what tells its up side."""
    rng = np.random.default_rng(config.seed)
    good = parts.picture[: min(2, len(parts))]
    first = good[0].astype(np.float32)
    damaged = [add_defect(first, [first], rng, kind)[0].astype(np.uint8) for kind in KINDS[:2]]
    sure = [{"picture": to_base64(png(picture))} for picture in good]
    return sure + [{"picture": to_base64(png(picture)), "any_way_up": True} for picture in damaged]
