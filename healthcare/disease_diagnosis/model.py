"""The tabular model: one linear model over the columns of all members, fitted anew for every choice of tests done.

A submodel for each pattern of missing tests (Fletcher Mercaldo & Blume, 2020, Biostatistics 21) needs no guess of what
was not measured, and the centre where it is missing needs no label.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from common.data.split import repeated_cv
from common.errors import DataError
from common.training.boosting import Boosting, fit_boosting
from healthcare.disease_diagnosis.basis import Basis, Columns
from healthcare.disease_diagnosis.config import TabularSettings
from healthcare.disease_diagnosis.fields import Member
from healthcare.disease_diagnosis.linear import Linear
from healthcare.disease_diagnosis.promise import chances

STUMPS = Boosting(depth=1, learning_rate=0.05, patience=0, subsample=0.6, colsample=0.4, min_leaf=4, l2=5.0)


@dataclass(frozen=True)
class Task:
    """What a model learns from: columns, labels (rows,) from 0 up to the number of findings, settings and seed."""

    basis: Basis
    columns: Columns
    y: np.ndarray
    findings: int
    settings: TabularSettings
    seed: int

    def fit(self, panels: Iterable[int]) -> Linear:
        """Weights for these choices of tests, ints as `Basis.panels` gives them.

        Raises `DataError` when nobody has one of the findings.
        """
        if len(np.unique(self.y)) < self.findings:
            got = f"{len(np.unique(self.y))} of {self.findings}"
            raise DataError("no patient to learn a finding from", where="the training rows", got=got)
        matrix, members, owners = self.basis.matrix(self.columns)
        test_of = {name: bit for bit, names in enumerate(self.basis.tests.values()) for name in names}
        chosen = np.array(sorted(set(panels)))
        weights = np.zeros((len(chosen), self.findings - 1, matrix.shape[1]))
        intercepts = np.zeros((len(chosen), self.findings - 1))
        shares = self.stacked() if self.settings.stacked else np.full(len(self.settings.members), self._equal)
        for place, panel in enumerate(chosen):
            there = np.array([owner not in test_of or panel >> test_of[owner] & 1 for owner in owners], bool)
            for member, share in zip(self.settings.members, shares, strict=True):
                own = np.flatnonzero(there & (np.array(members) == member))
                weight, intercept = self._member(member, matrix[:, own])
                weights[place, :, own] = share * weight.T
                intercepts[place] += share * intercept
        return Linear(self.basis, chosen, weights, intercepts)

    @property
    def _equal(self) -> float:
        return 1 / len(self.settings.members)

    def stacked(self) -> np.ndarray:
        """Shares of the members (members,), none negative, 1 in all, that suit unseen rows best.

        Stacked generalisation (Wolpert, 1992; Breiman, 1996) by log loss over inner folds, with all tests done.
        """
        raw = np.empty((len(self.settings.members), len(self.y), self.findings - 1))
        for _, fitted_on, judged in repeated_cv(self.y, None, self.settings.folds, 1, self.seed):
            train, rest = ({n: v[rows] for n, v in self.columns.items()} for rows in (fitted_on, judged))
            for place, member in enumerate(self.settings.members):
                alone = self.settings.model_copy(update={"members": (member,), "stacked": False})
                basis = Basis.fit(self.basis.fields, train, alone, self.seed)
                everything = [2 ** len(basis.tests) - 1]
                model = replace(self, basis=basis, columns=train, y=self.y[fitted_on], settings=alone).fit(everything)
                raw[place, judged] = model.log_odds(rest, np.zeros(len(judged), int))

        def loss(shares: np.ndarray) -> float:
            p = chances(np.tensordot(shares, raw, 1))
            return float(-np.log(p[np.arange(len(p)), self.y] + 1e-12).mean())

        start = np.full(len(raw), self._equal)
        found = np.asarray(minimize(loss, start, bounds=[(0, None)] * len(raw), method="L-BFGS-B").x)
        return found / found.sum() if found.any() else start  # how sure to be is the calibration's part

    def _member(self, member: Member, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights (findings - 1, width) and intercepts (findings - 1,): log-odds against the first finding."""
        if member == "boosting":
            # Each finding against the first alone (Begg & Gray, 1984), as boosting knows two.
            pairs = [(np.isin(self.y, (0, k)), k) for k in range(1, self.findings)]
            fitted = [self._stumps(x[own], self.y[own] == k) for own, k in pairs]
            return np.stack([weight for weight, _ in fitted]), np.array([intercept for _, intercept in fitted])
        c = getattr(self.settings, f"{member}_c")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=c, max_iter=500).fit(x, self.y)
        if self.findings == 2:
            return model.coef_, model.intercept_
        return model.coef_[1:] - model.coef_[0], model.intercept_[1:] - model.intercept_[0]

    def _stumps(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
        """Boosted trees of depth 1 over columns of 0 and 1: what each adds where its column is 1."""
        params = STUMPS.model_copy(update={"rounds": self.settings.rounds})
        found = fit_boosting("xgboost", params, x, y.astype(int), seed=self.seed)
        weight, intercept = np.zeros(x.shape[1]), found.intercept
        for leaf in found.leaves:
            for column, (low, _, _) in leaf.box.items():
                above = low > 0  # the cut lies between 0 and 1
                weight[column] += leaf.value if above else -leaf.value
                intercept += 0.0 if above else leaf.value
            intercept += 0.0 if leaf.box else leaf.value
        return weight, float(intercept)
