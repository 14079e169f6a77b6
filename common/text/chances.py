"""How likely every tag is under a linear-chain CRF, in numpy: the forward-backward algorithm (Rabiner, 1989)."""

from __future__ import annotations

import numpy as np

TINY = 1e-300


def chances(emissions: np.ndarray, transitions: np.ndarray) -> np.ndarray:
    """float64 (units, tags), rows sum to 1: the chance of a tag at a unit, over all sequences.

    `emissions` (units, tags) and `transitions` (tags + 1, tags + 1) are as in `viterbi`: the last row of transitions
    begins, the last column ends.
    """
    scores = np.asarray(emissions, np.float64)
    if not len(scores):
        return scores
    steps = np.exp(transitions[:-1, :-1].astype(np.float64))
    ahead, back = np.empty_like(scores), np.empty_like(scores)
    ahead[0] = transitions[-1, :-1] + scores[0]
    back[-1] = transitions[:-1, -1]
    for at in range(1, len(scores)):
        top = ahead[at - 1].max()
        ahead[at] = np.log(np.maximum(np.exp(ahead[at - 1] - top) @ steps, TINY)) + top + scores[at]
    for at in range(len(scores) - 2, -1, -1):
        next_ = back[at + 1] + scores[at + 1]
        top = next_.max()
        back[at] = np.log(np.maximum(steps @ np.exp(next_ - top), TINY)) + top
    both = ahead + back
    both = np.exp(both - both.max(axis=1, keepdims=True))
    return both / both.sum(axis=1, keepdims=True)
