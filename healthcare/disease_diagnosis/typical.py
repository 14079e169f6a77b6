"""Whether a picture looks like a chest X-ray at all, the right way up and not inverted. NumPy alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from healthcare.disease_diagnosis.basis import row_by_row

COMPONENTS = 40
REFUSED = 0.01
"""Share of genuine pictures that is refused, at most."""
PARTS = ("mean", "components", "spread", "scale", "held_out", "advantages")
DONE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "turned to the right": partial(np.rot90, k=-1, axes=(1, 2)),
    "upside down": partial(np.rot90, k=2, axes=(1, 2)),
    "turned to the left": partial(np.rot90, k=1, axes=(1, 2)),
    "inverted": lambda pictures: 255 - pictures,
}
"""What may have been done to pictures (n, h, w)."""
OPPOSITE = {"turned to the right": "turned to the left", "turned to the left": "turned to the right"}
"""What undoes it, where it is not the same again."""
UNDONE = {name: DONE[OPPOSITE.get(name, name)] for name in DONE}


@dataclass(frozen=True)
class Typical:
    """Principal components (k, pixels) of standardised training pictures, and the distances (n,) of held-out ones.

    The distance adds what the components leave over and how unusual their scores are, both in units of what is usual
    (combined index of Yue & Qin, 2001), and is compared with that of the picture turned and inverted: `advantage` is
    how many times nearer the best of these is. The share of held-out pictures that are as far, or as much nearer
    otherwise, is a conformal p-value, the smaller of the two doubled.
    """

    mean: np.ndarray
    components: np.ndarray
    spread: np.ndarray
    scale: np.ndarray
    held_out: np.ndarray
    advantages: np.ndarray

    @classmethod
    def fit(cls, train: np.ndarray, held_out: np.ndarray) -> Typical:
        """From pictures uint8 (n, h, w) and others that calibrate."""
        flat = _flat(train)
        mean = flat.mean(axis=0)
        _, _, components = np.linalg.svd(flat - mean, full_matrices=False)
        components = components[:COMPONENTS]
        scores = (flat - mean) @ components.T
        none = np.zeros(0)
        draft = cls(mean, components, scores.std(axis=0) + 1e-6, np.ones(2), none, none)
        draft = replace(draft, scale=np.array([part.mean() for part in draft._parts(held_out)]))
        distances, advantages = draft.distance(held_out), draft.advantage(held_out)
        return replace(draft, held_out=np.sort(distances), advantages=np.sort(advantages))

    def distance(self, pictures: np.ndarray) -> np.ndarray:
        """(n,): 2 is usual, of pictures uint8 (n, h, w)."""
        left, unusual = self._parts(pictures)
        found: np.ndarray = left / self.scale[0] + unusual / self.scale[1]
        return found

    def advantage(self, pictures: np.ndarray) -> np.ndarray:
        """(n,): by how much the nearest of the turned and inverted pictures is nearer, 1: as near."""
        others = [self.distance(undo(pictures)) for undo in UNDONE.values()]
        return np.asarray(self.distance(pictures) / np.min(others, axis=0))

    def p_value(self, pictures: np.ndarray) -> np.ndarray:
        """(n,): the share of genuine pictures that look less usual."""
        found = []
        for known, value in ((self.held_out, self.distance(pictures)), (self.advantages, self.advantage(pictures))):
            beyond = len(known) - np.searchsorted(known, value, side="left")
            found.append((beyond + 1) / (len(known) + 1))
        return np.minimum(2 * np.min(found, axis=0), 1)

    def refused(self, pictures: np.ndarray) -> np.ndarray:
        """bool (n,): which are beyond all but one in a hundred."""
        return self.p_value(pictures) <= max(REFUSED, 2 / (len(self.held_out) + 1))

    def remedy(self, picture: np.ndarray) -> str:
        """What was done to a refused picture uint8 (h, w), if undoing it makes it usual; else nothing."""
        undone = {name: undo(picture[None])[0] for name, undo in UNDONE.items()}
        best = min(undone, key=lambda name: self.distance(undone[name][None])[0])
        return "" if self.refused(undone[best][None])[0] else best

    def arrays(self) -> dict[str, np.ndarray]:
        """To be kept in a bundle."""
        return {name: getattr(self, name) for name in PARTS}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Typical:
        """From what `arrays` gave."""
        return cls(*(arrays[name] for name in PARTS))

    def _parts(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        flat = _flat(pictures) - self.mean
        scores = row_by_row(flat, self.components.T)
        left = np.square(flat - row_by_row(scores, self.components)).sum(axis=1)
        return left, np.square(scores / self.spread).mean(axis=1)


def _flat(pictures: np.ndarray) -> np.ndarray:
    """float64 (n, pixels), each with mean 0 and deviation 1."""
    flat = pictures.reshape(len(pictures), -1).astype(float)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / (flat.std(axis=1, keepdims=True) + 1)
