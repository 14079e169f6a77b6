from __future__ import annotations

import json

import numpy as np
import pytest

from manufacturing.visual_inspection.upright import Upright, learn

SIDES = (96, 128)


def parts(count: int, shape: tuple[int, int], seed: int = 0, notch: bool = True) -> list[np.ndarray]:
    """Grain of one kind, and near the upper left corner a dark notch."""
    rng = np.random.default_rng(seed)
    made = [np.clip(rng.normal(120, 20, shape), 0, 255) for _ in range(count)]
    for picture in made:
        if notch:
            top, left = rng.integers(0, 8, 2)
            picture[top : top + 24, left : left + 24] = 40
    return [picture.astype(np.uint8) for picture in made]


def learnt(shape: tuple[int, int], count: int = 30) -> Upright:
    check, accuracy = learn(parts(count, shape), np.arange(count))
    assert accuracy >= 0.98
    assert check
    return check


def test_an_upside_down_part_is_told_from_an_upright_one():
    check = learnt(SIDES)
    assert check.turns == [2]
    new = parts(20, SIDES, 2)
    assert [check.turned(picture) for picture in new] == [0] * 20
    assert [check.turned(np.rot90(picture, 2)) for picture in new] == [2] * 20


def test_a_square_part_may_also_lie_on_its_side():
    check = learnt((96, 98))
    assert check.turns == [1, 2, 3]
    for picture in parts(5, (96, 98), 2):
        assert [check.turned(np.rot90(picture, turns)) for turns in range(4)] == [0, 1, 2, 3]


def test_parts_without_an_up_side_are_not_checked():
    check, accuracy = learn(parts(40, SIDES, notch=False), np.arange(40))
    assert check is None
    assert accuracy < 0.9


def test_the_same_part_in_many_pictures_does_not_arm_the_check():
    """One part again and again has an up side of its own, which tells nothing about the next part."""
    ten = parts(10, SIDES, notch=False)
    again = [picture for picture in ten for _ in range(6)]
    check, accuracy = learn(again, np.repeat(np.arange(10), 6))
    assert check is None
    assert accuracy < 0.9


@pytest.mark.parametrize(("count", "promised"), [(30, 1 / 31), (250, 1 / 200)])
def test_the_promise_is_as_strict_as_the_number_of_parts_allows(count, promised):
    check = learnt((32, 48), count)
    assert check.refused == pytest.approx(promised)
    good = parts(400, (32, 48), 3)
    assert np.mean([check.turned(picture) > 0 for picture in good]) <= 3 * promised


def test_it_travels_as_json():
    check = learnt((32, 48))
    assert Upright.of(json.loads(json.dumps(check.json()))) == check
