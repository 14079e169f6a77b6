from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.config import build_config, settings
from manufacturing.visual_inspection.config import PRESETS, Config
from manufacturing.visual_inspection.data import GOOD, load, seen_before, tiles_of

MIRROR = Path(__file__).parents[4] / "shared" / "data"


def test_a_jump_in_the_running_number_starts_a_new_tile():
    assert tiles_of(np.array([100, 500, 130, 171, 541])).tolist() == [0, 2, 0, 1, 3]
    assert tiles_of(np.array([7])).tolist() == [0]


def test_training_parts_are_good_and_no_tile_stands_on_two_sides(split):
    assert not split["train"].defective.any()
    assert not split["valid"].defective.any()
    assert split["test"].defective.any()
    assert (split["test"].kind == GOOD).any()
    tiles = [set(part.tile) for part in split.values()]
    assert not tiles[0] & tiles[1]
    assert not (tiles[0] | tiles[1]) & tiles[2]


def test_masks_mark_defects_and_nothing_on_good_parts(pictures):
    for kind, mask, picture in zip(pictures.kind, pictures.mask, pictures.picture, strict=True):
        assert mask.shape == picture.shape
        assert mask.any() == (kind != GOOD)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    if not (MIRROR / "magnetic-tile").is_dir():
        pytest.skip("published data: ../shared/data has no magnetic-tile")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("ESPALIER_HOME", str(tmp_path_factory.mktemp("home")))
        monkeypatch.setenv("ESPALIER_DATA_MIRROR", str(MIRROR))
        settings.cache_clear()
        yield load(build_config(Config, PRESETS, "reference", []))
    settings.cache_clear()


def test_the_published_split_leaks_and_the_audit_sees_it_in_the_pictures(published):
    """Names are not looked at: exposures of one tile are alike once their light is taken away."""
    assert (len(published), published.listed.sum(), len(np.unique(published.tile))) == (1344, 761, 324)
    leaked, honest = (
        seen_before(**{k: v for k, v in published.split(protocol, 0.2, 0).items() if k != "valid"})
        for protocol in ("published-split", "tile-disjoint")
    )
    assert len(leaked) == len(honest) == 191
    assert leaked.mean() > 0.3
    assert honest.mean() < leaked.mean() / 4
    disjoint = published.split("tile-disjoint", 0.2, 0)
    assert len(disjoint["train"]) + len(disjoint["valid"]) == 297
