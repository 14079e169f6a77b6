"""Every detector in one parametrised test: fitted, judged, exported, restored."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import onnxruntime
import pytest
import torch

from common.vision.backbones import load_backbone
from common.vision.images import resized
from manufacturing.visual_inspection.config import Config, Detector
from manufacturing.visual_inspection.data import load
from manufacturing.visual_inspection.detectors import Excuses, Gaussian, MemoryBank, Reconstruction, Template, coreset
from manufacturing.visual_inspection.export import export
from manufacturing.visual_inspection.fit import fit, raw_scores, score
from manufacturing.visual_inspection.learn import EMPTY, FIT, Material, as_tensor, crossed
from manufacturing.visual_inspection.model import pooled

pytestmark = pytest.mark.slow
DETECTORS = get_args(Detector)


@pytest.fixture(scope="session")
def labelled(config):
    asked = config.model_copy(update={"protocol": "labelled", "parts": 60})
    return asked, load(asked).split("labelled", asked.seed)


@pytest.fixture(scope="session", params=DETECTORS)
def fitted(request, labelled):
    config, split = labelled
    quick = {"count": 64, "side": 64, "defective": 0.6}
    once = {"epochs": 1, "batch": 16}
    update = {"detectors": [request.param], "crops": quick, "segmenter": once, "reconstruction": once}
    config = Config.model_validate(config.model_dump() | update)
    return request.param, config, fit(config, split["train"])


def test_every_detector_maps_a_picture_to_one_finite_number_per_cell(fitted, labelled):
    name, config, found = fitted
    picture = resized(labelled[1]["test"].picture[0], config.scale)
    with torch.inference_mode():
        maps = found.inspector.maps(as_tensor(picture))
    assert maps.shape == (1, config.folds + 1, picture.shape[0] // 8, picture.shape[1] // 8), name
    assert torch.isfinite(maps).all()
    assert maps[0, 0].std() > 0
    assert not maps[0, -1].any()  # nothing is excused yet


def test_every_detector_says_the_same_in_onnx_runtime(fitted, labelled):
    _, config, found = fitted
    session = onnxruntime.InferenceSession(export(found.inspector)["model.onnx"])
    for picture in labelled[1]["test"].picture[:3]:
        ready = resized(picture, config.scale)
        given = {"picture": as_tensor(ready).numpy(), "threshold": np.zeros(1, np.float32)}
        assert session.run(["score"], given)[0][0] == pytest.approx(score(found.inspector, ready), abs=1e-4)


def test_every_detector_is_restored_into_its_empty_shape(fitted):
    name, config, found = fitted
    empty = EMPTY[name](found.inspector.backbone, config)
    empty.load_state_dict(found.inspector.detectors[name].state_dict())
    restored, kept = empty.eval().state_dict(), found.inspector.detectors[name].state_dict()
    assert all(torch.equal(restored[key], value) for key, value in kept.items())


def test_every_detector_of_the_config_can_be_fitted_and_restored():
    assert set(FIT) == set(EMPTY) == set(DETECTORS)


def test_exporting_leaves_the_detector_as_it_was(fitted):
    export(fitted[2].inspector)
    assert not any(module.training for module in fitted[2].inspector.modules())


def test_the_supervised_detector_finds_labelled_defects_that_synthetic_ones_do_not_show(labelled):
    """Bright squares are no kind of synthetic defect; a few with their masks are learnt."""
    config, split = labelled
    config = Config.model_validate(
        config.model_dump()
        | {
            "detectors": ["supervised"],
            "crops": {"count": 320, "side": 64, "defective": 0.6},
            "segmenter": {"epochs": 6, "batch": 16},
        }
    )
    good = split["train"].rows_of("good")
    pictures, masks = [], []
    for picture in good.picture[:12]:
        marked, mask = picture.copy(), np.zeros(picture.shape, bool)
        marked[40:64, 40:64], mask[40:64, 40:64] = 255, True
        pictures.append(marked)
        masks.append(mask)
    n = len(pictures)
    train = replace(
        good,
        name=np.concatenate([good.name, [f"square_{i}" for i in range(n)]]),
        kind=np.concatenate([good.kind, ["square"] * n]),
        tile=np.concatenate([good.tile, 1000 + np.arange(n)]),
        listed=np.concatenate([good.listed, np.zeros(n, bool)]),
        picture=good.picture + pictures,
        mask=good.mask + masks,
    )
    found = fit(config, train)
    fresh = split["test"].rows_of("good").picture[:6]
    clean = [float(raw_scores(found.inspector, resized(p, config.scale)).mean()) for p in fresh]
    squares = []
    for picture in fresh:
        marked = picture.copy()
        marked[30:54, 30:54] = 255
        squares.append(float(raw_scores(found.inspector, resized(marked, config.scale)).mean()))
    assert min(squares) > max(clean)


def test_the_coreset_takes_the_far_points_first():
    points = torch.cat([torch.zeros(50, 2) + torch.rand(50, 2) * 0.1, torch.tensor([[9.0, 0.0], [0.0, 9.0]])])
    chosen = coreset(points, 3, torch.Generator().manual_seed(0)).tolist()
    assert {50, 51} <= set(chosen)
    assert len(set(chosen)) == 3


def test_the_bank_knows_its_own_patches():
    bank = MemoryBank((2, 6, 4), 2, 8, 3)
    bank.projection = torch.randn(10, 3)
    features = [torch.randn(1, 2, 8, 8), torch.randn(1, 6, 4, 4), torch.randn(1, 4, 2, 2)]
    bank.bank = bank.embed(features).reshape(1, 4, 3).expand(2, -1, -1)
    picture = torch.zeros(1, 1, 32, 32)
    assert bank(picture, features).max() < 1e-2
    assert bank(picture, [f + 20 for f in features]).min() > 1


def test_a_member_of_the_bank_does_not_know_the_patches_of_its_own_fold():
    bank = MemoryBank((2, 6, 4), 3, 12, 3)
    bank.projection = torch.randn(10, 3)
    features = [torch.randn(1, 2, 8, 8), torch.randn(1, 6, 4, 4), torch.randn(1, 4, 2, 2)]
    bank.bank = bank.embed([f + 30 for f in features]).reshape(1, 4, 3).repeat(3, 1, 1)
    bank.bank[1] = bank.embed(features).reshape(4, 3)
    maps = bank(torch.zeros(1, 1, 32, 32), features)
    assert maps.shape == (1, 3, 4, 4)
    assert maps[0, [0, 2]].max() < 1e-2
    assert maps[0, 1].min() > 1


def test_members_learn_without_their_fold(labelled):
    config, split = labelled
    material = Material.of(config, split["train"], load_backbone("random"))
    seen = []
    crossed(lambda some: seen.append(some) or Template())(material)
    others = [{1, 2}, {0, 2}, {0, 1}]
    assert [set(some.fold) for some in seen] == others
    assert [set(some.fold_of_defect) for some in seen] == others
    assert [len(some.good) for some in seen] == [(material.fold != k).sum() for k in range(3)]
    assert all(len(some.defects) == len(some.masks) > 0 for some in seen)


def test_the_gaussian_is_the_mahalanobis_distance():
    gaussian = Gaussian(3)
    covariance = np.array([[2.0, 0.5, 0], [0.5, 1, 0.2], [0, 0.2, 3]])
    gaussian.mean = torch.tensor([1.0, 2.0, 3.0])
    gaussian.root = torch.from_numpy(np.linalg.cholesky(np.linalg.inv(covariance)).astype(np.float32))
    x = torch.randn(1, 3, 1, 1)
    off = x[0, :, 0, 0].numpy() - gaussian.mean.numpy()
    found = gaussian(torch.zeros(1, 1, 16, 16), [x, x, x])
    assert found[0, 0, 0].item() == pytest.approx(np.log1p(off @ np.linalg.inv(covariance) @ off), rel=1e-4)


def test_a_reconstruction_is_judged_by_what_it_changes():
    net = Reconstruction(4).eval()
    net.repair = lambda picture: torch.nn.functional.avg_pool2d(picture, 2)  # changes nothing
    assert net(torch.rand(1, 1, 64, 48)).abs().max() == 0


def test_excused_patches_are_known_and_others_are_not():
    excuses = Excuses((2, 6, 4))
    excuses.projection = torch.randn(10, excuses.DIMENSIONS)
    excuses.radius = torch.tensor(0.5)
    features = [torch.randn(1, 2, 8, 8), torch.randn(1, 6, 4, 4), torch.randn(1, 4, 2, 2)]
    assert not excuses.excused(features).any()
    excuses.bank[:1] = excuses.embed(features)[0, 1, 2]
    assert excuses.excused(features)[0].nonzero().tolist() == [[1, 2]]


def test_a_share_is_of_the_cells_and_never_empty():
    values = torch.arange(100.0).reshape(1, 10, 10)
    assert pooled(values, 0.1).item() == pytest.approx(np.arange(90, 100).mean())
    assert pooled(values, 0.001).item() == 99
