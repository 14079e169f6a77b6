"""Reject inference: using applicants who were refused and so never got a label.

Fuzzy augmentation adds every refused applicant twice, as good and as bad, weighted by the accepted
model's probability; parcelling draws one label from the bad rate of the applicant's score band. In
both, `PRUDENCE` raises the odds of default: the past policy knew something the fields do not say
(Siddiqi, 2006, chapter 6). The gain is only as good as that assumption: train with and without it, and
compare the two reports.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

PRUDENCE = 1.3
BANDS = 10


def infer_rejects(
    method: Literal["none", "fuzzy", "parcelling"],
    accepted: np.ndarray,
    y: np.ndarray,
    probability: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, labels and weights to train on; `y` of refused rows is never read.

    `accepted` is boolean, `probability` the accepted model's probability of default for every row,
    all of shape (n,). Returns positions into these rows (refused ones twice under "fuzzy").
    """
    known, refused = np.flatnonzero(accepted), np.flatnonzero(~accepted)
    if method == "none" or not len(refused):
        return known, y[known], np.ones(len(known))
    if method == "fuzzy":
        bad = _prudent(probability[refused])
        rows = np.concatenate([known, refused, refused])
        labels = np.concatenate([y[known], np.ones(len(refused), int), np.zeros(len(refused), int)])
        return rows, labels, np.concatenate([np.ones(len(known)), bad, 1 - bad])
    edges = np.quantile(probability[known], np.linspace(0, 1, BANDS + 1)[1:-1])
    band_known, band_refused = (np.searchsorted(edges, probability[part]) for part in (known, refused))
    bads = np.bincount(band_known, weights=y[known], minlength=BANDS)
    rate = np.clip(bads / np.maximum(np.bincount(band_known, minlength=BANDS), 1), 1e-6, 1 - 1e-6)
    drawn = np.random.default_rng(seed).random(len(refused)) < _prudent(rate)[band_refused]
    rows = np.concatenate([known, refused])
    return rows, np.concatenate([y[known], drawn.astype(int)]), np.ones(len(rows))


def _prudent(probability: np.ndarray) -> np.ndarray:
    odds = PRUDENCE * probability / (1 - probability)
    return odds / (1 + odds)
