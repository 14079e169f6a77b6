"""How chest X-rays are learnt: an ensemble of nets, exported to ONNX, its promise, and what looks like a chest."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from common.evaluation.metrics import auc, brier
from common.evaluation.stability import reference_histogram
from common.files import sha256
from common.progress import bar
from common.training.loop import fit_dataset
from common.vision.backbones import load_backbone
from common.vision.images import png, to_base64
from common.vision.quality import quality
from healthcare.disease_diagnosis.augment import Augmented
from healthcare.disease_diagnosis.config import Config
from healthcare.disease_diagnosis.data import SIDE, Pictures
from healthcare.disease_diagnosis.network import Ensemble, Net, Transfer, standardised
from healthcare.disease_diagnosis.promise import Site, chances
from healthcare.disease_diagnosis.typical import Typical

EXAMPLES = 4
TOGETHER = 256


def fit_ensemble(config: Config, train: Pictures) -> Ensemble:
    """Nets that differ in their seeds alone: initialisation, order and augmentation.

    Raises `ModelUnavailable` when a backbone's weights cannot be had.
    """
    nets = [_net(config, train, config.seed + member) for member in range(config.picture.nets)]
    return Ensemble(nets).eval().requires_grad_(False)


def _net(config: Config, train: Pictures, seed: int) -> nn.Module:
    settings, backbone = config.picture, None
    torch.manual_seed(seed)
    net: nn.Module
    if settings.model == "residual":
        net = Net(settings.channels, settings.blocks).to(memory_format=torch.channels_last)
    else:
        backbone = load_backbone(settings.backbone, seed=seed)
        net = Transfer(backbone, settings.backbone_side)
        fit_head(net, train, settings.transfer_c)
        if settings.model == "transfer":
            return net
        # From the linear layer on: a random one would spoil the features first (Kumar et al., 2022, arXiv:2202.10054).
        backbone.requires_grad_(True)
    examples = Augmented(as_tensor(train.picture), torch.from_numpy(train.y).float(), settings.erased)
    loss = nn.functional.binary_cross_entropy_with_logits
    fit_dataset(net, examples, loss, settings.optimisation, seed=seed, backbone=backbone)
    return net


def fit_head(net: Transfer, train: Pictures, c: float) -> None:
    """Logistic regression on the means of frozen maps of each picture and of its mirror image, into the last layer."""
    found = []
    with torch.inference_mode(), bar("features", len(train)) as advance:
        for part in as_tensor(train.picture).split(TOGETHER):
            x = standardised(part)
            found.append(torch.stack([net.features(way).mean((2, 3)) for way in (x, x.flip(3))], dim=1))
            advance(len(part))
    features = torch.cat(found).double().numpy()  # (pictures, 2, channels)
    flat = features.reshape(-1, features.shape[2])
    mean, spread = flat.mean(axis=0), flat.std(axis=0) + 1e-6
    model = LogisticRegression(C=c, max_iter=500).fit((flat - mean) / spread, train.y.repeat(2))
    weight = model.coef_[0] / spread
    with torch.no_grad():
        net.head.weight.copy_(torch.from_numpy(weight)[None])
        net.head.bias.fill_(float(model.intercept_[0] - weight @ mean))


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
    score = 1 - chances(raw[:, None])[np.arange(len(y)), y]
    return Site(np.zeros((1, 1)), np.ones(1), score[None], np.full(len(y), ""))


def contents(config: Config, data: Pictures, split: dict[str, Pictures], ensemble: Ensemble) -> dict[str, Any]:
    """What the bundle of a fitted ensemble holds, as `save_bundle` takes it; val promises, test stays closed."""
    train, val = split["train"], split["val"]
    raw = log_odds(ensemble, val.picture)
    site, typical = site_of_val(raw, val.y), Typical.fit(train.picture, val.picture)
    p = chances(raw[:, None])[:, 1]
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
        },
        "metrics": metrics,
        "data": {
            "cards": [{"id": data.id, "title": data.title, "licence": data.licence, "sha256": data.sha256}],
            "simulated": data.simulated,
            "split": "train, val and test as published; pictures of train that stand in the others too are left out",
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
