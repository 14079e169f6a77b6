from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.config import build_config, settings
from common.errors import AuditError
from manufacturing.visual_inspection.config import PRESETS, Config
from manufacturing.visual_inspection.data import GOOD, load, seen_before, tiles_of

MIRROR = Path(__file__).parents[4] / "shared" / "data"


def test_a_jump_in_the_running_number_starts_a_new_tile():
    assert tiles_of(np.array([100, 500, 130, 171, 541])).tolist() == [0, 2, 0, 1, 3]
    assert tiles_of(np.array([7])).tolist() == [0]


def test_training_parts_are_good_and_no_tile_stands_on_two_sides(split):
    assert not split["train"].defective.any()
    assert split["test"].defective.any()
    assert (split["test"].kind == GOOD).any()
    assert not set(split["train"].tile) & set(split["test"].tile)


def test_folds_are_of_tiles_and_by_the_published_split_of_pictures(config, split):
    train = split["train"]
    fold = train.folds(config)
    assert sorted(set(fold)) == list(range(config.folds))
    assert all(len(set(fold[train.tile == tile])) == 1 for tile in train.tile)
    sizes = np.bincount([fold[train.tile == tile][0] for tile in np.unique(train.tile)])
    assert sizes.max() - sizes.min() <= 1
    single = train.folds(config.model_copy(update={"protocol": "published-split"}))
    assert any(len(set(single[train.tile == tile])) > 1 for tile in train.tile)
    other = train.folds(config.model_copy(update={"seed": 1}))
    assert (other != fold).any()


def test_fewer_good_parts_than_folds_are_refused(config, split):
    few = split["train"].rows(np.flatnonzero(np.isin(split["train"].tile, np.unique(split["train"].tile)[:2])))
    with pytest.raises(AuditError, match="too few good parts to train on: got 2 good parts, expected at least 3"):
        few.folds(config.model_copy(update={"folds": 3}))


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
    leaked, honest = (seen_before(**published.split(protocol, 0)) for protocol in ("published-split", "tile-disjoint"))
    assert len(leaked) == len(honest) == 191
    assert leaked.mean() > 0.3
    assert honest.mean() < leaked.mean() / 4
    assert len(published.split("tile-disjoint", 0)["train"]) == 297
