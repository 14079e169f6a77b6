from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", exc_type=ImportError)
pytest.importorskip("accelerate")

from common.errors import UsageError  # noqa: E402
from common.training.loop import Optimisation  # noqa: E402
from common.training.pretraining import Pretraining, pretrain, vicreg  # noqa: E402
from common.vision.backbones import load_backbone  # noqa: E402

SETTINGS = Pretraining(
    side=32, width=64, optimisation=Optimisation(epochs=6, batch=16, learning_rate=1e-3, largest_gradient=1.0)
)


def gratings(count=32, seed=0):
    """Grey and coloured pictures of waves, of several sizes."""
    rng, pictures = np.random.default_rng(seed), []
    for number in range(count):
        y, x = np.mgrid[: 64 + number % 9, :72]
        angle, wave = rng.uniform(0, np.pi), rng.uniform(0.1, 1.2)
        value = 128 + 60 * np.sin(wave * (x * np.cos(angle) + y * np.sin(angle))) + rng.normal(0, 10, x.shape)
        picture = np.clip(value, 0, 255).astype(np.uint8)
        pictures.append(np.stack([picture] * 3, axis=-1) if number % 2 else picture)
    return pictures


def means(backbone):
    """(pictures, channels): the coarsest map of every picture, averaged."""
    found = []
    with torch.no_grad():
        for picture in gratings(16, seed=1):
            grey = torch.from_numpy(picture if picture.ndim == 2 else picture[..., 0])[:64, :64]
            found.append(backbone((grey / 127.5 - 1).expand(1, 3, -1, -1))[-1].mean((2, 3)))
    return torch.cat(found)


@pytest.fixture(scope="module", params=["random", "resnet18"])
def trained(request):
    backbone = load_backbone(request.param, pretrained=False)
    before = means(backbone)
    return backbone, before, pretrain(backbone, gratings(), SETTINGS, seed=0)


def test_the_loss_falls_and_features_differ_between_pictures(trained):
    backbone, before, history = trained
    after = means(backbone)
    assert history.losses[-1] < 0.96 * history.losses[0]
    assert not torch.allclose(before, after)
    assert after.std(0).median() > 0.5 * before.std(0).median()  # collapsed, they would be one point


def test_the_backbone_ends_frozen_and_in_evaluation(trained):
    backbone = trained[0]
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_the_seed_decides():
    settings = SETTINGS.model_copy(update={"optimisation": Optimisation(epochs=1, batch=8)})

    def features(seed):
        backbone = load_backbone("random")
        pretrain(backbone, gratings(8), settings, seed)
        return means(backbone)

    first, second, other = features(0), features(0), features(1)
    assert torch.equal(first, second)
    assert not torch.allclose(first, other)


def test_the_loss_is_worst_for_embeddings_that_collapsed_or_repeat_themselves():
    generator = torch.Generator().manual_seed(0)
    spread = torch.randn(256, 1, 16, generator=generator).expand(-1, 2, -1)
    nothing = torch.zeros(0)
    good = vicreg(spread, nothing)
    assert vicreg(spread * 0.01, nothing) > good + 20  # no deviation
    assert vicreg(spread[..., :1].expand(-1, -1, 16), nothing) > good + 20  # sixteen times the same
    assert vicreg(spread + torch.tensor([[[0.0], [1.0]]]), nothing) > good + 20  # two views apart


def test_one_picture_is_refused():
    with pytest.raises(UsageError, match="pre-training compares pictures: got 1, expected at least 2"):
        pretrain(load_backbone("random"), gratings(1), SETTINGS, seed=0)
