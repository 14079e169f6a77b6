"""The best sequence of tags under a linear-chain CRF, in numpy: where a model is served."""

from __future__ import annotations

import numpy as np


def viterbi(emissions: np.ndarray, transitions: np.ndarray) -> np.ndarray:
    """Tags int64 (units,) that maximise the sum of emissions (units, tags) and transitions (tags + 1, tags + 1).

    The last row of `transitions` scores the first tag, the last column the last one. The first of equals wins.
    """
    if not len(emissions):
        return np.zeros(0, np.int64)
    inner = np.ascontiguousarray(transitions[:-1, :-1].T)  # to, from
    score = transitions[-1, :-1] + emissions[0]
    back = np.zeros(emissions.shape, np.int64)
    every = np.arange(emissions.shape[1])
    for at in range(1, len(emissions)):
        paths = inner + score
        back[at] = paths.argmax(1)
        score = paths[every, back[at]] + emissions[at]
    best = np.empty(len(emissions), np.int64)
    best[-1] = (score + transitions[:-1, -1]).argmax()
    for at in range(len(emissions) - 1, 0, -1):
        best[at - 1] = back[at, best[at]]
    return best
