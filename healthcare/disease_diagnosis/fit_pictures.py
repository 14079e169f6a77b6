"""How chest X-rays are learnt: an ensemble of nets, exported to ONNX, its promise, and what looks like a chest."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common.evaluation.metrics import auc, brier
from common.evaluation.stability import reference_histogram
from common.files import sha256
from common.training.loop import fit_dataset
from common.vision.images import png, to_base64
from common.vision.quality import quality
from healthcare.disease_diagnosis.augment import Augmented
from healthcare.disease_diagnosis.config import Config
from healthcare.disease_diagnosis.data import SIDE, Pictures
from healthcare.disease_diagnosis.knowledge import INTENDED_USE
from healthcare.disease_diagnosis.network import Ensemble, Net
from healthcare.disease_diagnosis.promise import Site, probability
from healthcare.disease_diagnosis.typical import Typical

EXAMPLES = 4
TOGETHER = 256


def fit_ensemble(config: Config, train: Pictures) -> Ensemble:
    """Nets that differ in their seeds alone: initialisation, order and augmentation."""
    x, y = as_tensor(train.picture), torch.from_numpy(train.y).float()
    nets = []
    for member in range(config.picture.nets):
        torch.manual_seed(config.seed + member)
        net = Net(config.picture.channels, config.picture.blocks).to(memory_format=torch.channels_last)
        examples = Augmented(x, y, config.picture)
        fit_dataset(
            net,
            examples,
            nn.functional.binary_cross_entropy_with_logits,
            config.picture.optimisation,
            seed=config.seed + member,
        )
        nets.append(net)
    return Ensemble(nets).eval().requires_grad_(False)


def as_tensor(pictures: np.ndarray) -> Tensor:
    """Pictures uint8 (n, h, w) as (n, 1, h, w) from 0 to 1."""
    return torch.from_numpy(pictures).float()[:, None] / 255


def log_odds(ensemble: nn.Module, pictures: np.ndarray) -> np.ndarray:
    """float64 (n,), of pictures uint8 (n, h, w)."""
    with torch.inference_mode():
        return torch.cat([ensemble(part)[0] for part in as_tensor(pictures).split(TOGETHER)]).double().numpy()


def site_of_val(raw: np.ndarray, y: np.ndarray) -> Site:
    """What validation pictures promise, by the ensemble's own probabilities.

    They are not recalibrated: val has other pictures of patients that train shows, so it knows nothing of how sure the
    nets may be of new ones.
    """
    p = probability(raw)
    return Site(np.zeros(1), np.ones(1), np.where(y == 1, 1 - p, p)[None], np.full(len(y), ""))


def contents(config: Config, data: Pictures, split: dict[str, Pictures], ensemble: Ensemble) -> dict[str, Any]:
    """What the bundle of a fitted ensemble holds, as `save_bundle` takes it; val promises, test stays closed."""
    train, val = split["train"], split["val"]
    raw = log_odds(ensemble, val.picture)
    site, typical = site_of_val(raw, val.y), Typical.fit(train.picture, val.picture)
    p = probability(raw)
    light = [quality(picture) for picture in train.picture]
    metrics = {
        "valid_auc": auc(val.y, raw),
        "valid_brier": brier(val.y, p),
        "valid_accuracy": float(((p >= 0.5) == val.y).mean()),
        "valid_refused": float(typical.refused(val.picture).mean()),
        "threshold": config.costs.threshold,
    }
    return {
        "arrays": {
            "weights.safetensors": {name: value.numpy() for name, value in ensemble.state_dict().items()},
            "sites.safetensors": site.arrays("val"),
            "typical.safetensors": typical.arrays(),
        },
        "files": {"model.onnx": export(ensemble)},
        "preprocess": {
            "kind": "pictures",
            "side": SIDE,
            "findings": data.findings,
            "coverage": config.coverage,
            "threshold": config.costs.threshold,
            "sites": {"val": site.group.tolist()},
            "intended_use": INTENDED_USE,
        },
        "metrics": metrics,
        "data": {
            "cards": [{"id": data.id, "title": data.title, "licence": data.licence, "sha256": data.sha256}],
            "simulated": data.simulated,
            "split": "train, val and test as published; pictures of train that stand in the others too are left out",
            "notes": [f"intended use: {INTENDED_USE}"],
            "test_rows_sha256": sha256(split["test"].picture.tobytes()),
        },
        "reference": {"probability": reference_histogram(p)}
        | {name: reference_histogram([one[name] for one in light]) for name in light[0]},
        "examples": _examples(train, typical),
    }


def _examples(train: Pictures, typical: Typical) -> list[dict[str, Any]]:
    """Requests: usual pictures of either finding."""
    usual = np.flatnonzero(~typical.refused(train.picture))
    rows = [i for label in (0, 1) for i in usual[train.y[usual] == label][: EXAMPLES // 2]]
    return [{"picture": to_base64(png(train.picture[i]))} for i in rows]


def export(ensemble: Ensemble) -> bytes:
    """ONNX: `picture` (1, 1, 28, 28) from 0 to 1 to `log_odds` (1,) and `evidence` (1, 7, 7)."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The newer exporter needs two more packages and writes source paths into the file.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            ensemble,
            (torch.rand(1, 1, SIDE, SIDE),),
            buffer,
            dynamo=False,
            opset_version=17,
            input_names=["picture"],
            output_names=["log_odds", "evidence"],
        )
    return buffer.getvalue()
