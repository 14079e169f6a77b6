"""Is a part the right way up? Learnt from good parts alone: a picture against itself, turned.

A logistic regression on the difference of the features of a picture and of its turns gives weights with which the
upright one scores higher. Self-supervised as in Gidaris et al. (2018, arXiv:1803.07728), but linear: it serves from a
list of numbers. It is armed only where good parts have an up side that can be told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from PIL import Image

from common.evaluation.conformal import Calibration

SIDE = 64
GRID = 8
ARMED = 0.98
"""Accuracy on held-back parts from which the up side counts as known: below it refusals would be guesses."""
REFUSED = 1 / 200
"""Good parts refused by mistake, at most; where too few parts are held back, as many as those can promise."""
SQUARE = 1.05
"""Longer over shorter side up to which a quarter turn cannot be told by the shape of the picture."""
FOLDS = 5


@dataclass(frozen=True)
class Upright:
    """Weights (features,) and the margin below which a part is refused; `turns` are quarter turns that were learnt.

    `refused` is the promise: the rate of good parts that are refused by mistake.
    """

    weights: list[float]
    turns: list[int]
    lowest: float
    refused: float

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Self:
        """From JSON."""
        return cls(**kept)

    def json(self) -> dict[str, Any]:
        """As `of` takes it."""
        return asdict(self)

    def turned(self, picture: np.ndarray) -> int:
        """Quarter turns, counter-clockwise, that a part seems to be turned by; 0 when it is upright or one cannot say.

        `picture` is uint8 (height, width).
        """
        scores = _views(picture, self.turns) @ np.array(self.weights)
        best = int(np.argmax(scores))
        return (4 - [0, *self.turns][best]) % 4 if scores[0] - scores[best] < self.lowest else 0


def learn(pictures: Sequence[np.ndarray], part: np.ndarray) -> tuple[Upright | None, float]:
    """The check, or nothing when good parts have no up side, and its accuracy on parts that it has not learnt from.

    `pictures` are of good parts, uint8 (height, width), and `part` (pictures,) says which show the same one: it is
    never in two folds. Accuracy and bound come from weights that were learnt without the fold; the check has the
    weights of all.
    """
    from sklearn.model_selection import GroupKFold

    turns = [1, 2, 3] if all(max(p.shape) <= SQUARE * min(p.shape) for p in pictures) else [2]
    views = np.array([_views(picture, turns) for picture in pictures])
    folds = GroupKFold(min(FOLDS, len(np.unique(part)))).split(views, groups=part)
    margins = np.empty(len(views))
    for kept, held in folds:
        margins[held] = _margins(views[held], _fit(views[kept]))
    accuracy = float((margins > 0).mean())
    if accuracy < ARMED:
        return None, accuracy
    calibration = Calibration(-margins, part)
    rate = max(REFUSED, calibration.lowest_rate)
    # A part is refused only if it also looks more like a turned one: its margin is then below 0.
    lowest = min(-calibration.threshold(rate), 0.0)
    return Upright(_fit(views).tolist(), turns, lowest, rate), accuracy


def _fit(views: np.ndarray) -> np.ndarray:
    """Weights (features,) with which the upright view, views[:, 0], scores above every other."""
    from sklearn.linear_model import LogisticRegression

    found = (views[:, :1] - views[:, 1:]).reshape(-1, views.shape[2])
    x, y = np.concatenate([found, -found]), np.repeat([1, 0], len(found))
    return LogisticRegression(C=0.1, fit_intercept=False, max_iter=1000).fit(x, y).coef_[0]


def _margins(views: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(pictures,): score of the upright view above the best of the others."""
    scores = views @ weights
    return scores[:, 0] - scores[:, 1:].max(axis=1)


def _views(picture: np.ndarray, turns: Sequence[int]) -> np.ndarray:
    """float64 (1 + turns, features): of the picture as it is, then turned."""
    small = np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BOX), float)
    flat = (small - small.mean()) / (small.std() + 1)
    return np.array([_features(np.rot90(flat, turn)) for turn in (0, *turns)])


def _features(flat: np.ndarray) -> np.ndarray:
    """(features,): where it is light, where it is rough, and whether edges rise faster than they fall."""
    step = SIDE // GRID
    cells = flat.reshape(GRID, step, GRID, step).swapaxes(1, 2).reshape(GRID, GRID, -1)
    slopes = [np.diff(flat, axis=axis) for axis in (0, 1)]
    skews = [float((slope**3).mean() / (slope.std() ** 3 + 1e-3)) for slope in slopes]
    return np.concatenate([cells.mean(2).ravel(), cells.std(2).ravel(), skews])
