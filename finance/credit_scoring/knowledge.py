"""What a lender knows of the published data sets beyond their cards: order of levels, direction of risk.

`risk` becomes a monotone constraint, which on 500 training rows is worth more than it costs; `change`
limits what a counterfactual may suggest. Both codings of the German data describe the same people,
so South German reuses the knowledge under its own names and codes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

Facts = dict[str, dict[str, Any]]

GERMAN: Facts = {
    "status_of_existing_checking_account": {
        "ordered": True,
        "not_advised": ("no checking account",),
        "levels": (
            "... < 0 DM",
            "0 <= ... < 200 DM",
            "... >= 200 DM / salary assignments for at least 1 year",
            "no checking account",
        ),
        "risk": -1,
        "change": "any",
    },
    "duration_in_month": {"risk": 1, "integer": True, "change": "lower"},
    "credit_history": {
        "ordered": True,
        "levels": (
            "no credits taken/ all credits paid back duly",
            "all credits at this bank paid back duly",
            "existing credits paid back duly till now",
            "delay in paying off in the past",
            "critical account/ other credits existing (not at this bank)",
        ),
        "risk": -1,
    },
    "purpose": {},
    "credit_amount": {"risk": 1, "change": "lower", "amount": True},
    "savings_account_and_bonds": {
        "ordered": True,
        "not_advised": ("unknown/ no savings account",),
        "levels": (
            "... < 100 DM",
            "100 <= ... < 500 DM",
            "500 <= ... < 1000 DM",
            "... >= 1000 DM",
            "unknown/ no savings account",
        ),
        "risk": -1,
        "change": "any",
    },
    "present_employment_since": {
        "ordered": True,
        "levels": ("unemployed", "... < 1 year", "1 <= ... < 4 years", "4 <= ... < 7 years", "... >= 7 years"),
        "risk": -1,
    },
    "installment_rate_in_percentage_of_disposable_income": {"risk": 1, "integer": True, "change": "lower"},
    "personal_status_and_sex": {},
    "other_debtors_or_guarantors": {
        "ordered": True,
        "levels": ("co-applicant", "none", "guarantor"),
        "risk": -1,
        "change": "any",
    },
    "present_residence_since": {"integer": True},
    "property": {
        "ordered": True,
        "levels": (
            "unknown / no property",
            "car or other, not in attribute Savings account/bonds",
            "building society savings agreement/ life insurance",
            "real estate",
        ),
        "risk": -1,
    },
    "age_in_years": {"risk": -1, "integer": True, "age": True},
    "other_installment_plans": {"ordered": True, "levels": ("bank", "stores", "none"), "risk": -1, "change": "any"},
    "housing": {"ordered": True, "levels": ("for free", "rent", "own"), "risk": -1},
    "number_of_existing_credits_at_this_bank": {"integer": True},
    "job": {
        "ordered": True,
        "levels": (
            "unemployed/ unskilled - non-resident",
            "unskilled - resident",
            "skilled employee / official",
            "management/ self-employed/ highly qualified employee/ officer",
        ),
    },
    "number_of_people_being_liable_to_provide_maintenance_for": {"integer": True},
    "telephone": {"ordered": True, "levels": ("none", "yes, registered under the customers name")},
    "foreign_worker": {"ordered": True, "levels": ("no", "yes"), "risk": 1},
}

# Levels in the order of the source's codes: the corrected meanings make some directions of risk odd
# (real estate is the riskiest property), so those get no constraint.
SOUTH_GERMAN: Facts = {
    "laufkont": {"ordered": True, "levels": (1, 2, 3, 4), "risk": -1, "change": "any", "not_advised": (1,)},
    "laufzeit": {"risk": 1, "integer": True, "change": "lower"},
    "moral": {"ordered": True, "levels": (0, 1, 2, 3, 4), "risk": -1},
    "verw": {},
    "hoehe": {"risk": 1, "change": "lower", "amount": True},
    "sparkont": {"ordered": True, "levels": (1, 2, 3, 4, 5), "risk": -1, "change": "any", "not_advised": (1,)},
    "beszeit": {"ordered": True, "levels": (1, 2, 3, 4, 5), "risk": -1},
    "rate": {"ordered": True, "levels": (1, 2, 3, 4), "risk": 1},
    "famges": {},
    "buerge": {"ordered": True, "levels": (2, 1, 3), "risk": -1, "change": "any"},
    "wohnzeit": {"ordered": True, "levels": (1, 2, 3, 4)},
    "verm": {"ordered": True, "levels": (1, 2, 3, 4)},
    "alter": {"risk": -1, "integer": True, "age": True},
    "weitkred": {"ordered": True, "levels": (1, 2, 3), "risk": -1, "change": "any"},
    "wohn": {},
    "bishkred": {"ordered": True, "levels": (1, 2, 3, 4)},
    "beruf": {"ordered": True, "levels": (1, 2, 3, 4)},
    "pers": {"ordered": True, "levels": (2, 1)},
    "telef": {"ordered": True, "levels": (1, 2)},
    "gastarb": {"ordered": True, "levels": (2, 1), "risk": 1},
}

MONTHS = ("PAY_0", "PAY_2", "PAY_3", "PAY_4", "PAY_5", "PAY_6")
TAIWAN: Facts = {
    "LIMIT_BAL": {"risk": -1, "amount": True},
    "SEX": {},
    "EDUCATION": {},
    "MARRIAGE": {},
    "AGE": {"integer": True, "age": True},
    **{name: {"integer": True, "kind": "number"} for name in MONTHS},
    **{f"BILL_AMT{i}": {} for i in range(1, 7)},
    **{f"PAY_AMT{i}": {} for i in range(1, 7)},
    # Only the latest month is still open to change; the past is not.
    "PAY_0": {"integer": True, "kind": "number", "change": "lower"},
    "BILL_AMT1": {"change": "lower"},
    "PAY_AMT1": {"change": "higher"},
}

KNOWLEDGE: dict[str, Facts] = {
    "credit-german": GERMAN,
    "credit-south-german": SOUTH_GERMAN,
    "credit-taiwan-default": TAIWAN,
}


# What a reader of the fairness pages has to know.
SEX_CAVEAT = {
    "credit-german": "Do not read these groups as women and men: in this public copy the column "
    "personal_status_and_sex has the right totals but is shuffled against the corrected coding of the same "
    "people (South German credit).",
    "credit-south-german": "The corrected coding does not tell single men from women, so two groups are mixed.",
}


def _german_sex(frame: pd.DataFrame) -> np.ndarray:
    return np.where(frame["personal_status_and_sex"].str.startswith("female"), "female", "male")


def _south_german_sex(frame: pd.DataFrame) -> np.ndarray:
    """The corrected coding shows that code 2 holds women and single men: sex cannot be told apart."""
    names = {1: "male", 2: "female, or single male", 3: "male", 4: "female"}
    return frame["famges"].map(names).to_numpy(dtype=str)


def _taiwan_sex(frame: pd.DataFrame) -> np.ndarray:
    return np.where(frame["SEX"] == 2, "female", "male")


SEX: dict[str, Callable[[pd.DataFrame], np.ndarray]] = {
    "credit-german": _german_sex,
    "credit-south-german": _south_german_sex,
    "credit-taiwan-default": _taiwan_sex,
}
