"""From pictures of good parts to a bundle: features, segmenter, memory bank, calibrated alarm."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from common.bundle import Bundle, save_bundle
from common.evaluation.conformal import threshold_for
from common.evaluation.metrics import auc
from common.evaluation.stability import reference_histogram
from common.files import sha256
from common.training.loop import fit as minimise
from common.vision.images import CONTRAST, MULTIPLE, png, resized, standardised, to_base64
from common.vision.mobilenet import load_mobilenet, random_mobilenet
from common.vision.quality import quality, usual
from manufacturing.visual_inspection import SYSTEM
from manufacturing.visual_inspection.config import Config
from manufacturing.visual_inspection.data import Pictures, load
from manufacturing.visual_inspection.model import (
    MEANS,
    STRIDE,
    Inspector,
    MemoryBank,
    Patches,
    Segmenter,
    coreset,
    mean_of_top,
)
from manufacturing.visual_inspection.synthetic import KINDS, add_defect
from manufacturing.visual_inspection.upright import Upright, learn

RARE = 3.0  # weight of a defective patch: one in ten is
OF_PICTURE = 0.5  # weight of the whole crop's verdict in the loss
NOTHING_FLIPPED = {"flipped": 0, "flipped_against_label": 0, "decisions_compared": 0}  # a first bundle has no elder
EXTREME = 12.0  # deviations at which a feature is cut, so that half precision holds it


@dataclass(frozen=True)
class Fitted:
    """The detector, the scores of the good parts held back for the alarm, and what was measured on validation."""

    inspector: Inspector
    calibration: np.ndarray
    metrics: dict[str, Any]


def train(config: Config) -> Bundle:
    """Load, split, fit, calibrate, export and save, or update `base` by feedback; the test part is not looked at."""
    if config.base:
        from manufacturing.visual_inspection.feedback import update

        return update(config)
    data = load(config)
    split = data.split(config.protocol, config.held_back, config.seed)
    fitted = fit(config, split["train"], split["valid"])
    return _save(config, data, split, fitted)


def fit(config: Config, train: Pictures, valid: Pictures) -> Fitted:
    """Fit on the good parts of `train`; the alarm is calibrated on those of `valid`, which nothing else has seen.

    A fifth of the training tiles stays out of the bank: its scores tell how far a new good part usually is.
    """
    rng, generator = np.random.default_rng(config.seed), torch.Generator().manual_seed(config.seed)
    pictures = [resized(picture, config.scale) for picture in train.picture]
    backbone = random_mobilenet(config.seed) if config.backbone == "random" else load_mobilenet()
    patches = Patches(backbone).eval()
    segmenter = _fit_segmenter(config, patches, pictures, rng)

    tiles = rng.permutation(np.unique(train.tile))
    apart = np.isin(train.tile, tiles[: max(1, len(tiles) // 5)])
    bank = _fill_bank(config, patches, [p for p, out in zip(pictures, apart, strict=True) if not out], generator)
    inspector = Inspector(patches, segmenter, bank, config.top).eval()
    fresh = torch.stack([raw_scores(inspector, p) for p, out in zip(pictures, apart, strict=True) if out])
    inspector.centre, inspector.spread = fresh.mean(0), fresh.std(0) + 1e-6

    kept = [resized(picture, config.scale) for picture in valid.picture]
    calibration = np.array([score(inspector, picture) for picture in kept])
    damaged = [add_defect(p, pictures, rng, KINDS[i % len(KINDS)])[0] for i, p in enumerate(kept)]
    alarms = np.array([score(inspector, picture) for picture in damaged])
    y = np.repeat([0, 1], [len(calibration), len(alarms)])
    metrics = {
        "valid_auroc": auc(y, np.concatenate([calibration, alarms])),
        "valid_good_parts": len(calibration),
        "threshold": threshold_for(calibration, config.false_alarms_per_1000 / 1000),
    }
    return Fitted(inspector, calibration, metrics)


def raw_scores(inspector: Inspector, picture: np.ndarray) -> Tensor:
    """(2,): what segmenter and bank say of one resized picture."""
    with torch.inference_mode():
        return inspector.raw_scores(inspector.maps(as_tensor(picture)))[0].clone()


def score(inspector: Inspector, picture: np.ndarray) -> float:
    """The score of one resized picture."""
    return float(inspector.score(raw_scores(inspector, picture)[None]))


def as_tensor(picture: np.ndarray) -> Tensor:
    """A resized picture as the detector takes it: standardised, (1, 1, height, width)."""
    return torch.from_numpy(standardised(picture))[None, None]


def _fit_segmenter(config: Config, patches: Patches, pictures: list[np.ndarray], rng: np.random.Generator) -> Segmenter:
    """Features of all crops once, in half precision, then the small net on top for some epochs; sets the features'
    shift and scale."""
    features, targets = [], []
    with torch.inference_mode():
        for _ in range(0, config.crops.count, 16):
            crops, masks = zip(*(_crop(config, pictures, rng) for _ in range(16)), strict=True)
            features.append(patches(torch.from_numpy(np.array(crops))[:, None]).half())
            masks_of_batch = torch.from_numpy(np.array(masks, np.float32))[:, None]
            targets.append(functional.max_pool2d(masks_of_batch, STRIDE)[:, 0])
    x, y = torch.cat(features), torch.cat(targets)
    some = x[:640].float()
    patches.shift, patches.scale = some.mean((0, 2, 3)), 1 / (some.std((0, 2, 3)) + 1e-3)
    for batch in x.split(64):  # in place: the whole is gigabytes
        batch.copy_(((batch - patches.shift[:, None, None]) * patches.scale[:, None, None]).clamp(-EXTREME, EXTREME))
    torch.manual_seed(config.seed)
    segmenter = Segmenter()

    def loss(found: Tensor, wanted: Tensor) -> Tensor:
        defective = (wanted.amax((1, 2)) > 0).float()
        verdict = functional.binary_cross_entropy_with_logits(mean_of_top(found, config.top), defective)
        weight = torch.tensor(RARE)
        return functional.binary_cross_entropy_with_logits(found, wanted, pos_weight=weight) + OF_PICTURE * verdict

    minimise(segmenter, x, y, loss, config.segmenter, seed=config.seed)
    return segmenter


def _crop(config: Config, pictures: list[np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A random crop, standardised by its whole picture, float32 (side, side), and the mask of its synthetic defect."""
    whole, side = pictures[rng.integers(len(pictures))], config.crops.side
    mean, deviation = whole.mean(), whole.std(ddof=1)
    whole = np.pad(whole, [(0, max(0, side - length)) for length in whole.shape], mode="symmetric")
    top, left = (int(rng.integers(0, length - side + 1)) for length in whole.shape)
    crop, mask = whole[top : top + side, left : left + side], np.zeros((side, side), bool)
    crop = crop[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    if rng.random() < config.crops.defective:
        crop, mask = add_defect(crop, pictures, rng)
    standard = (crop - mean) / (deviation + 1) * CONTRAST * rng.uniform(0.85, 1.18) + rng.normal(0, 0.03)
    return np.clip(standard, -1, 1).astype(np.float32), mask


def _fill_bank(config: Config, patches: Patches, pictures: list[np.ndarray], generator: torch.Generator) -> MemoryBank:
    size, dimensions = config.bank.size, config.bank.dimensions
    bank = MemoryBank(size, dimensions)
    bank.projection = torch.randn(MEANS, dimensions, generator=generator) / MEANS**0.5
    each = max(1, config.bank.candidates // len(pictures))
    found = []
    with torch.inference_mode():
        for picture in pictures:
            points = bank.embed(patches(as_tensor(picture))).reshape(-1, dimensions)
            found.append(points[torch.randperm(len(points), generator=generator)[:each]])
        points = torch.cat(found)
        bank.bank = points[coreset(points, size, generator)].clone()
    return bank


class _Judge(nn.Module):
    """The last step alone, for maps that were joined from tiles."""

    def __init__(self, inspector: Inspector) -> None:
        super().__init__()
        self.inspector = inspector

    def forward(self, maps: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score, defective and heat of raw maps (1, detectors, rows, columns)."""
        return self.inspector.judge(maps, threshold)


def export(inspector: Inspector) -> dict[str, bytes]:
    """The detector as ONNX, all for one picture.

    `model.onnx`: picture (1, 1, height, width), standardised, and threshold (1,) to score, defective, heat and maps.
    `verdict.onnx`: maps (1, detectors, rows, columns) and threshold to score, defective and heat.
    """
    picture, threshold = torch.rand(1, 1, 64, 96) - 0.5, torch.zeros(1)
    with torch.no_grad():
        maps = inspector(picture, threshold)[-1]
    outputs = ["score", "defective", "heat"]
    sides = {"heat": {1: "rows", 2: "columns"}, "maps": {2: "rows", 3: "columns"}}
    return {
        "model.onnx": _onnx(
            inspector,
            {"picture": picture, "threshold": threshold},
            [*outputs, "maps"],
            sides | {"picture": {2: "height", 3: "width"}},
        ),
        "verdict.onnx": _onnx(_Judge(inspector), {"maps": maps, "threshold": threshold}, outputs, sides),
    }


def _onnx(module: nn.Module, inputs: dict[str, Tensor], outputs: list[str], sides: dict[str, dict[int, str]]) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The newer exporter needs two more packages and writes source paths into the file.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            buffer,
            dynamo=False,
            opset_version=17,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=sides,
        )
    return buffer.getvalue()


def _save(config: Config, data: Pictures, split: dict[str, Pictures], fitted: Fitted) -> Bundle:
    train, valid = split["train"], split["valid"]
    upright, accuracy = learn(train.picture, train.tile, valid.picture)
    light = [quality(picture) for picture in (*train.picture, *valid.picture)]
    seen = usual(light)
    return save_bundle(
        SYSTEM,
        config,
        arrays={
            "weights.safetensors": weights_of(fitted.inspector),
            "calibration.safetensors": {"score": fitted.calibration},
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
            "split": f"{config.protocol}, {config.held_back:.0%} of the good tiles held back, seed {config.seed}",
            "notes": [_note(upright)],
            "test_rows_sha256": sha256("\n".join(split["test"].name).encode()),
        },
        reference={"score": reference_histogram(fitted.calibration)}
        | {name: reference_histogram([one[name] for one in light]) | {"range": seen[name]} for name in seen},
        examples=_examples(config, valid),
    )


def weights_of(inspector: Inspector) -> dict[str, np.ndarray]:
    """Every parameter and buffer by name."""
    return {name: value.numpy() for name, value in inspector.state_dict().items()}


def _of_upright(upright: Upright | None, accuracy: float) -> dict[str, Any]:
    """Whether a part upside down is refused, and how many good parts that costs."""
    checked = {"upright_refused_per_1000": 1000 * upright.refused} if upright else {}
    return {"upright_accuracy": accuracy, "upright_checked": upright is not None, **checked}


def _note(upright: Upright | None) -> str:
    if upright is None:
        return "way up: these parts have no up side that can be told, so it is not checked"
    rate = 1000 * upright.refused
    return f"way up: a part upside down is refused, and by mistake at most {rate:.3g} of 1,000 good ones"


def _examples(config: Config, valid: Pictures) -> list[dict[str, Any]]:
    """Requests: good parts, and the first of them with defects, which may hide what tells its up side."""
    rng = np.random.default_rng(config.seed)
    good = valid.picture[: min(2, len(valid))]
    first = good[0].astype(np.float32)
    damaged = [add_defect(first, [first], rng, kind)[0].astype(np.uint8) for kind in KINDS[:2]]
    sure = [{"picture": to_base64(png(picture))} for picture in good]
    return sure + [{"picture": to_base64(png(picture)), "any_way_up": True} for picture in damaged]
