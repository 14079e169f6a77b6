"""From pictures of good parts to a bundle: features, segmenter, memory bank, calibrated alarm."""

from __future__ import annotations

import io
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from common.bundle import Bundle, save_bundle
from common.evaluation.conformal import threshold_for
from common.evaluation.metrics import auc
from common.evaluation.stability import reference_histogram
from common.files import sha256
from common.training.loop import fit as minimise
from common.vision.images import png, resized, to_base64
from common.vision.mobilenet import load_mobilenet, random_mobilenet
from manufacturing.visual_inspection import SYSTEM
from manufacturing.visual_inspection.config import Config
from manufacturing.visual_inspection.data import Pictures, load
from manufacturing.visual_inspection.model import (
    CONTRAST,
    MEANS,
    STRIDE,
    Inspector,
    MemoryBank,
    Patches,
    Segmenter,
    coreset,
    mean_of_top,
    standardise,
)
from manufacturing.visual_inspection.synthetic import KINDS, add_defect

RARE = 3.0  # weight of a defective patch: one in ten is
OF_PICTURE = 0.5  # weight of the whole crop's verdict in the loss
EXTREME = 12.0  # deviations at which a feature is cut, so that half precision holds it


@dataclass(frozen=True)
class Fitted:
    """The detector, the scores of the good parts held back for the alarm, and what was measured on validation."""

    inspector: Inspector
    calibration: np.ndarray
    metrics: dict[str, Any]


def train(config: Config) -> Bundle:
    """Load, split, fit, calibrate, export and save; the test part is not looked at."""
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
    """(1, 1, height, width)."""
    return torch.from_numpy(np.ascontiguousarray(picture))[None, None]


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
            points = bank.embed(patches(standardise(as_tensor(picture)))).reshape(-1, dimensions)
            found.append(points[torch.randperm(len(points), generator=generator)[:each]])
        points = torch.cat(found)
        bank.bank = points[coreset(points, size, generator)].clone()
    return bank


def export(inspector: Inspector) -> bytes:
    """The detector as ONNX: picture (1, 1, height, width) and threshold (1,) to score, defective and heat."""
    buffer = io.BytesIO()
    example = (torch.rand(1, 1, 64, 96) * 255, torch.zeros(1))
    with warnings.catch_warnings(), torch.no_grad():
        # The newer exporter needs two more packages and writes source paths into the file.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            inspector,
            example,
            buffer,
            dynamo=False,
            opset_version=17,
            input_names=["picture", "threshold"],
            output_names=["score", "defective", "heat"],
            dynamic_axes={"picture": {2: "height", 3: "width"}, "heat": {1: "rows", 2: "columns"}},
        )
    return buffer.getvalue()


def _save(config: Config, data: Pictures, split: dict[str, Pictures], fitted: Fitted) -> Bundle:
    valid = split["valid"]
    rng = np.random.default_rng(config.seed)
    good = valid.picture[: min(2, len(valid))]
    damaged = [add_defect(good[0].astype(np.float32), [good[0].astype(np.float32)], rng, kind)[0] for kind in KINDS[:2]]
    shown = [*good, *(picture.astype(np.uint8) for picture in damaged)]
    weights = {name: value.numpy() for name, value in fitted.inspector.state_dict().items()}
    return save_bundle(
        SYSTEM,
        config,
        arrays={"weights.safetensors": weights, "calibration.safetensors": {"score": fitted.calibration}},
        files={"model.onnx": export(fitted.inspector)},
        preprocess={"scale": config.scale, "false_alarms_per_1000": config.false_alarms_per_1000},
        metrics=fitted.metrics,
        data={
            "cards": [{"id": data.id, "title": data.title, "licence": data.licence, "sha256": data.sha256}],
            "simulated": data.simulated,
            "split": f"{config.protocol}, {config.held_back:.0%} of the good tiles held back, seed {config.seed}",
            "left_out": [asdict(one) for one in data.left_out],
            "test_rows_sha256": sha256("\n".join(split["test"].name).encode()),
        },
        reference={"score": reference_histogram(fitted.calibration)},
        examples=[{"picture": to_base64(png(picture))} for picture in shown],
    )
