"""The tabular model: one linear model over the columns of all members, fitted anew for every choice of tests done.

A submodel for each pattern of missing tests (Fletcher Mercaldo & Blume, 2020, Biostatistics 21) needs no guess of what
was not measured, and the centre where it is missing needs no label.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from common.data.split import repeated_cv
from common.training.boosting import Boosting, fit_boosting
from healthcare.disease_diagnosis.basis import Basis, Columns
from healthcare.disease_diagnosis.config import TabularSettings
from healthcare.disease_diagnosis.fields import Member
from healthcare.disease_diagnosis.linear import Linear

STUMPS = Boosting(depth=1, learning_rate=0.05, patience=0, subsample=0.6, colsample=0.4, min_leaf=4, l2=5.0)


@dataclass(frozen=True)
class Task:
    """What a model learns from: columns, labels 0/1 (rows,), settings and seed."""

    basis: Basis
    columns: Columns
    y: np.ndarray
    settings: TabularSettings
    seed: int

    def fit(self, panels: Iterable[int]) -> Linear:
        """Weights for these choices of tests, ints as `Basis.panels` gives them."""
        matrix, members, owners = self.basis.matrix(self.columns)
        test_of = {name: bit for bit, names in enumerate(self.basis.tests.values()) for name in names}
        chosen = np.array(sorted(set(panels)))
        weights = np.zeros((len(chosen), matrix.shape[1]))
        intercepts = np.zeros(len(chosen))
        shares = self.stacked() if self.settings.stacked else np.full(len(self.settings.members), self._equal)
        for place, panel in enumerate(chosen):
            there = np.array([owner not in test_of or panel >> test_of[owner] & 1 for owner in owners], bool)
            for member, share in zip(self.settings.members, shares, strict=True):
                own = np.flatnonzero(there & (np.array(members) == member))
                weight, intercept = self._member(member, matrix[:, own])
                weights[place, own] = share * weight
                intercepts[place] += share * intercept
        return Linear(self.basis, chosen, weights, intercepts)

    @property
    def _equal(self) -> float:
        return 1 / len(self.settings.members)

    def stacked(self) -> np.ndarray:
        """Shares of the members (members,), none negative, 1 in all, that suit unseen rows best.

        Stacked generalisation (Wolpert, 1992; Breiman, 1996) by log loss over inner folds, with all tests done.
        """
        raw = np.empty((len(self.settings.members), len(self.y)))
        for _, fitted_on, judged in repeated_cv(self.y, None, self.settings.folds, 1, self.seed):
            train, rest = ({n: v[rows] for n, v in self.columns.items()} for rows in (fitted_on, judged))
            for place, member in enumerate(self.settings.members):
                alone = self.settings.model_copy(update={"members": (member,), "stacked": False})
                basis = Basis.fit(self.basis.fields, train, alone, self.seed)
                everything = [2 ** len(basis.tests) - 1]
                model = Task(basis, train, self.y[fitted_on], alone, self.seed).fit(everything)
                raw[place, judged] = model.log_odds(rest, np.zeros(len(judged), int))

        def loss(shares: np.ndarray) -> float:
            return float(np.logaddexp(0, np.where(self.y == 1, -1, 1) * (shares @ raw)).mean())

        start = np.full(len(raw), self._equal)
        found = np.asarray(minimize(loss, start, bounds=[(0, None)] * len(raw), method="L-BFGS-B").x)
        return found / found.sum() if found.any() else start  # how sure to be is the calibration's part

    def _member(self, member: Member, x: np.ndarray) -> tuple[np.ndarray, float]:
        """Weights and intercept, log-odds."""
        if member == "boosting":
            return self._stumps(x)
        c = {
            "logistic": self.settings.logistic_c,
            "additive": self.settings.additive_c,
            "kernel": self.settings.kernel_c,
        }[member]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=c, max_iter=500).fit(x, self.y)
        return model.coef_[0], float(model.intercept_[0])

    def _stumps(self, x: np.ndarray) -> tuple[np.ndarray, float]:
        """Boosted trees of depth 1 over columns of 0 and 1: what each adds where its column is 1."""
        params = STUMPS.model_copy(update={"rounds": self.settings.rounds})
        found = fit_boosting("xgboost", params, x, self.y, seed=self.seed)
        weight, intercept = np.zeros(x.shape[1]), found.intercept
        for leaf in found.leaves:
            for column, (low, _, _) in leaf.box.items():
                above = low > 0  # the cut lies between 0 and 1
                weight[column] += leaf.value if above else -leaf.value
                intercept += 0.0 if above else leaf.value
            intercept += 0.0 if leaf.box else leaf.value
        return weight, float(intercept)
