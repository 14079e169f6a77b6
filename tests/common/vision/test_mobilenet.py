from __future__ import annotations

import shutil

import pytest

from common.errors import ModelUnavailable

torch = pytest.importorskip("torch", exc_type=ImportError)

from common.vision.mobilenet import ID, load_mobilenet, random_mobilenet  # noqa: E402


@pytest.fixture
def models(tmp_path, machine, published_models):
    """A copy of the backbone's folder that may be spoilt."""
    shutil.copytree(published_models / ID, tmp_path / "models" / ID)
    return tmp_path / "models" / ID


def test_maps_have_the_documented_channels_and_strides():
    maps = random_mobilenet(0)(torch.rand(2, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [(2, 64, 32, 48), (2, 128, 16, 24), (2, 256, 8, 12), (2, 512, 4, 6)]


def test_the_imagenet_weights_see_a_natural_edge_better_than_noise(models):
    """Folded batch norms keep activations in ReLU6's range, neither dead nor saturated."""
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(1, 3, 64, 64, generator=generator).cumsum(3)
    picture = picture / picture.max() * 2 - 1
    for feature in load_mobilenet()(picture):
        assert 0.05 < (feature > 0).float().mean() < 0.95
        assert (feature >= 6).float().mean() < 0.3


def test_a_changed_or_missing_file_is_named(models):
    (models / "group32-shard1of1").write_bytes(b"")
    load_mobilenet()  # that is a file behind the last map and is not read
    spoilt = models / "group44-shard1of1"
    content = bytearray(spoilt.read_bytes())
    content[7] ^= 1
    spoilt.write_bytes(content)
    with pytest.raises(ModelUnavailable, match=r"group44-shard1of1: a file of the backbone changed: got sha256"):
        load_mobilenet()
    spoilt.unlink()
    with pytest.raises(ModelUnavailable, match=r"group44-shard1of1: .* is missing; set ESPALIER_MODELS"):
        load_mobilenet()
