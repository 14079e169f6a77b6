"""Simulated loan applications for the offline preset: a known truth with the troubles of real files.

Default follows a logistic model of income, debt, history and time, with one interaction; some
applicants have no bureau file (code -1), some do not state their employment, the economy worsens a
little over 24 months, and a past policy refused the riskiest (kept, with `accepted` false, to test
reject inference). Sex has no effect of its own but goes along with income, as in real files.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from finance.credit_scoring.fields import CreditField

SIMULATED = "credit-simulated"
NO_FILE = -1.0
MONTHS = pd.period_range("2024-01", periods=24, freq="M").astype(str).to_numpy()
HOUSING = ("own", "mortgage", "rent", "parents")
PURPOSE = ("car", "home improvement", "consolidation", "education", "business")

SIMULATED_FIELDS = (
    CreditField(name="income_monthly", label="Net income a month", minimum=0, maximum=1e6, risk=-1),
    CreditField(name="loan_amount", label="Amount of the loan", minimum=500, maximum=1e6, change="lower"),
    CreditField(
        name="term_months", label="Term of the loan in months", minimum=6, maximum=120, integer=True, change="any"
    ),
    CreditField(name="utilisation", label="Share of card limits in use", minimum=0, maximum=2, risk=1, change="lower"),
    CreditField(
        name="delinquencies_2y",
        label="Late payments in two years",
        minimum=NO_FILE,
        maximum=50,
        integer=True,
        risk=1,
        special=(NO_FILE,),
    ),
    CreditField(
        name="inquiries_6m",
        label="Credit enquiries in six months",
        minimum=NO_FILE,
        maximum=50,
        integer=True,
        risk=1,
        special=(NO_FILE,),
    ),
    CreditField(
        name="employment_years", label="Years in the present job", minimum=0, maximum=60, risk=-1, optional=True
    ),
    CreditField(name="housing", label="Housing", kind="category", levels=HOUSING),
    CreditField(name="purpose", label="Purpose of the loan", kind="category", levels=PURPOSE, change="any"),
    CreditField(name="age", label="Age in years", minimum=18, maximum=110, integer=True, sensitive=True),
    CreditField(name="sex", label="Sex", kind="category", levels=("female", "male"), sensitive=True),
    CreditField(
        name="payment_to_income",
        label="Monthly instalment relative to income",
        formula="loan_amount / term_months / income_monthly",
        risk=1,
    ),
)


def simulate(rows: int, seed: int) -> pd.DataFrame:
    """`rows` applications with `default` (0/1, known for everybody here), `accepted` and `month`, in order of time."""
    rng = np.random.default_rng(seed)
    sex = np.where(rng.random(rows) < 0.48, "female", "male")
    age = np.clip(rng.gamma(9, 4.6, rows), 18, 90).round()
    income = np.exp(rng.normal(7.9, 0.45, rows) - 0.12 * (sex == "female") + 0.006 * (age - 40)).round(-1)
    amount = np.clip(np.exp(rng.normal(8.9, 0.7, rows)), 500, 80_000).round(-2)
    term = rng.choice([12, 24, 36, 48, 60, 72], rows, p=[0.08, 0.17, 0.27, 0.22, 0.18, 0.08])
    utilisation = np.clip(rng.beta(1.4, 2.2, rows) * 1.2, 0, 1.2).round(3)
    late = rng.poisson(0.25 + 0.7 * utilisation).astype(float)
    enquiries = rng.poisson(0.8, rows).astype(float)
    no_file = rng.random(rows) < 0.06
    late[no_file] = enquiries[no_file] = NO_FILE
    years = np.clip(rng.gamma(1.6, 4, rows), 0, age - 16).round(1)
    years[rng.random(rows) < 0.05] = np.nan
    housing = rng.choice(HOUSING, rows, p=[0.25, 0.3, 0.35, 0.1])
    purpose = rng.choice(PURPOSE, rows, p=[0.35, 0.2, 0.25, 0.1, 0.1])
    month = np.sort(rng.integers(0, len(MONTHS), rows))

    burden = amount / term / income
    risk = (
        -3.15
        + 5.0 * np.minimum(burden, 0.6)
        + 1.4 * utilisation
        + 0.75 * np.maximum(late, 0) * (1 + 0.5 * (utilisation > 0.8))
        + 0.22 * np.maximum(enquiries, 0)
        + 0.5 * no_file
        - 0.07 * np.minimum(np.nan_to_num(years, nan=2.0), 12)
        - 0.35 * np.isin(housing, ["own", "mortgage"])
        + 0.45 * (purpose == "business")
        + 0.25 * (purpose == "consolidation")
        + 0.015 * month
    )
    default = rng.random(rows) < 1 / (1 + np.exp(-risk))
    policy = risk + rng.normal(0, 0.8, rows)
    return pd.DataFrame(
        {
            "income_monthly": income,
            "loan_amount": amount,
            "term_months": term.astype(float),
            "utilisation": utilisation,
            "delinquencies_2y": late,
            "inquiries_6m": enquiries,
            "employment_years": years,
            "housing": housing,
            "purpose": purpose,
            "age": age,
            "sex": sex,
            "month": MONTHS[month],
            "accepted": policy < np.quantile(policy, 0.85),
            "default": default.astype(int),
        }
    )
