"""Does one column alone give the label away?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

# The strongest honest column of the house's tables (PAY_0, Taiwan) reaches .71; a copy of the label reaches 1.
GIVES_AWAY = 0.995
# A leak this strong shows in a sample; it keeps the check at milliseconds a column.
SAMPLE = 4_000
MOST_CLASSES = 20
FEWEST_ROWS = 20


def label_leaks(frame: pd.DataFrame, features: list[str], target: np.ndarray) -> dict[str, float]:
    """The features that alone tell a class of `target` (rows,) apart with an AUC of .995 or more.

    The AUC is out of sample: learnt on every other row, measured on the rest. Numbers go through a tree of up to
    16 leaves, so that neither direction nor monotony matters and a missing cell counts as a value; categories
    through the class rate of each level. A column of unique ids has nothing to learn from and passes. Targets with
    more than 20 distinct values are not classes and are not checked.
    """
    values, classes = np.unique(target, return_counts=True)
    if len(values) > MOST_CLASSES:
        return {}
    found: dict[str, float] = {}
    # With two classes the second answers for both.
    for value, count in zip(values[len(values) == 2 :], classes[len(values) == 2 :], strict=True):
        if min(count, len(target) - count) < FEWEST_ROWS:
            continue
        event = target == value
        learn, test = _halves(event)
        for name in features:
            auc = _auc(frame[name], event, learn, test)
            if auc >= GIVES_AWAY:
                found[name] = max(auc, found.get(name, 0.0))
    return found


def _halves(event: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint samples of positions, each with both classes; shuffled because files are often sorted."""
    rng = np.random.default_rng(0)
    chosen = [rng.permutation(np.flatnonzero(event == side))[: SAMPLE // 2] for side in (True, False)]
    return np.concatenate([c[::2] for c in chosen]), np.concatenate([c[1::2] for c in chosen])


def _auc(column: pd.Series, event: np.ndarray, learn: np.ndarray, test: np.ndarray) -> float:
    if pd.api.types.is_numeric_dtype(column):
        x = column.to_numpy("float64", na_value=np.nan).reshape(-1, 1)
        tree = DecisionTreeClassifier(max_leaf_nodes=16, min_samples_leaf=5, random_state=0).fit(x[learn], event[learn])
        score = tree.predict_proba(x[test])[:, 1]
    else:
        levels, _ = pd.factorize(column, use_na_sentinel=False)
        rate = pd.Series(event[learn]).groupby(levels[learn]).mean()
        score = pd.Series(levels[test]).map(rate).fillna(event[learn].mean()).to_numpy()
    return float(roc_auc_score(event[test], score))
