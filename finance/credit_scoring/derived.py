"""Derived fields of the published data sets, as formulas.

German: the monthly instalment. Taiwan: what six months of repayment status, bills and payments say
together: recent delay, how much of the limit is used, how much of a bill is paid, what is spent.
Nothing here is fitted; month 0 is the latest (September 2005), and weights halve or fade by .7 a month.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Facts = dict[str, dict[str, Any]]

LIMIT = "LIMIT_BAL"
STATUS = ("PAY_0", "PAY_2", "PAY_3", "PAY_4", "PAY_5", "PAY_6")
BILL = tuple(f"BILL_AMT{i}" for i in range(1, 7))
PAID = tuple(f"PAY_AMT{i}" for i in range(1, 7))
FADE = tuple(round(0.7**k, 6) for k in range(6))
HALF = tuple(0.5**k for k in range(6))


def total(terms: Iterable[str]) -> str:
    """The sum, in brackets."""
    return "(" + " + ".join(terms) + ")"


def mean(terms: Sequence[str]) -> str:
    """The mean."""
    return f"{total(terms)} / {len(terms)}"


def weighted(terms: Sequence[str], weights: Sequence[float]) -> str:
    """The weighted sum, in brackets."""
    return total(f"{w!r} * {term}" for term, w in zip(terms, weights, strict=False))


def spread(terms: Sequence[str], unit: str = "1") -> str:
    """The variance, of the terms divided by `unit` (it orders as the standard deviation does)."""
    squares = total(f"{term} * {term}" for term in terms)
    return f"({squares} - {total(terms)} * {total(terms)} / {len(terms)}) / ({unit} * {unit})"


def streak(terms: Sequence[str], least: int) -> str:
    """How many months in a row from the latest are at or over `least`."""
    term, *rest = terms
    return f"count({term} >= {least})" + (f" * (1 + {streak(rest, least)})" if rest else "")


def capped(term: str, low: float, high: float) -> str:
    """The term held between two numbers."""
    return f"max({low!r}, min({high!r}, {term}))"


DELAY = [f"max({status}, 0)" for status in STATUS]
LATE = [f"count({status} >= 2)" for status in STATUS]
LOG_PAID = [f"log(1 + {paid})" for paid in PAID]
# What was bought in a month: the bill grew by it, after the payment; interest is in it.
SPENT = [f"({new} - {old} + {paid})" for new, old, paid in zip(BILL, BILL[1:], PAID, strict=False)]
OWED = [f"max({bill}, 0)" for bill in BILL[1:]]
SHARE_PAID = [
    f"when({bill} <= 0, 1.5, {capped(f'{paid} / max({bill}, 1)', 0, 1.5)})"
    for bill, paid in zip(BILL[1:], PAID, strict=False)
]
SPENT_OF_BILL = [capped(f"{spent} / max({owed}, 500)", -1, 3) for spent, owed in zip(SPENT, OWED, strict=True)]


def _field(label: str, formula: str, risk: int = 0) -> dict[str, Any]:
    return {"label": label, "formula": formula, "risk": risk}


TAIWAN: Facts = {
    # Repayment status
    "status_recent": _field("Repayment status, recent months first", weighted(STATUS, HALF)),
    "delay_recent": _field("Months of delay, recent months first", weighted(DELAY, HALF), 1),
    "delay_faded": _field("Months of delay, fading slowly", weighted(DELAY, FADE), 1),
    "status_mean": _field("Mean repayment status", mean(STATUS)),
    "status_mean_3": _field("Mean repayment status of three months", mean(STATUS[:3])),
    "status_last_2": _field("Repayment status of the last two months", total(STATUS[:2])),
    "status_max": _field("Worst repayment status", f"max({', '.join(STATUS)})"),
    "delay_max": _field("Longest delay", f"max(0, {', '.join(STATUS)})", 1),
    "delay_max_3": _field("Longest delay of three months", f"max(0, {', '.join(STATUS[:3])})", 1),
    "delay_last_2": _field("Delay of the last two months", f"2 * {DELAY[0]} + {DELAY[1]}", 1),
    "late_recent": _field("Months two or more late, recent months first", weighted(LATE, FADE), 1),
    "late_count_3": _field("Months two or more late of three", total(LATE[:3]), 1),
    "late_count": _field("Months two or more late of six", total(LATE), 1),
    "late_streak": _field("Months two or more late in a row", streak(STATUS, 2), 1),
    "delay_streak": _field("Months late in a row", streak(STATUS, 1), 1),
    "delay_trend": _field(
        "Delay of the last three months less the three before", f"{mean(DELAY[:3])} - {mean(DELAY[3:])}"
    ),
    "status_change": _field("Change of the repayment status", "PAY_0 - PAY_2"),
    "overdue_amount": _field(
        "Largest bill while late",
        f"max({', '.join(f'{late} * max({bill}, 0)' for late, bill in zip(LATE, BILL, strict=True))})",
    ),
    # Payments
    "paid_log_mean": _field("Mean of payments on the log scale", mean(LOG_PAID)),
    "paid_log_mean_3": _field("Mean of three payments on the log scale", mean(LOG_PAID[:3])),
    "paid_log_recent": _field("Payments on the log scale, recent first", weighted(LOG_PAID, FADE)),
    "paid_log_of_limit": _field(
        "Payments against the limit, recent first", f"{weighted(LOG_PAID, FADE)} - {sum(FADE)!r} * log({LIMIT})"
    ),
    "paid_of_limit_recent": _field(
        "Payments as shares of the limit, recent first",
        weighted([f"log(({paid} + 100) / {LIMIT})" for paid in PAID], FADE),
    ),
    "paid_sum": _field("Sum of payments", total(PAID), -1),
    "paid_sum_3": _field("Sum of three payments", total(PAID[:3]), -1),
    "paid_min": _field("Smallest payment", f"min({', '.join(PAID)})"),
    "paid_max": _field("Largest payment", f"max({', '.join(PAID)})"),
    "paid_2_of_limit": _field("Payment of August as a share of the limit", f"PAY_AMT2 / {LIMIT}"),
    "paid_of_bill_1": _field("Latest payment against the bill before", f"(PAY_AMT1 + 100) / ({OWED[0]} + 100)"),
    "paid_of_bill_min": _field("Smallest share of a bill that was paid", f"min({', '.join(SHARE_PAID)})"),
    "paid_of_bills": _field(
        "Sum of payments against the sum of bills", capped(f"{total(PAID)} / max({total(BILL)}, 1)", 0, 3)
    ),
    # Balances
    "bill_mean": _field("Mean bill", mean(BILL)),
    "bill_max": _field("Largest bill", f"max({', '.join(BILL)})"),
    "room": _field("Limit left", f"{LIMIT} - BILL_AMT1"),
    "use_1": _field("Share of the limit in use", f"BILL_AMT1 / {LIMIT}"),
    "use_2": _field("Share of the limit in use in August", f"BILL_AMT2 / {LIMIT}"),
    "use_recent": _field("Share of the limit in use, recent months first", f"{weighted(BILL, FADE)} / {LIMIT}"),
    "use_max": _field("Largest share of the limit in use", f"max({', '.join(BILL)}) / {LIMIT}"),
    "use_change": _field("Change of the share in use", f"(BILL_AMT1 - BILL_AMT2) / {LIMIT}"),
    "use_spread": _field("Spread of the share in use", spread(BILL, LIMIT)),
    "bill_constant": _field(
        "Spread of the bills against their size",
        capped(spread(BILL, f"max({total(f'abs({bill})' for bill in BILL)} / 6, 1)"), 0, 30),
    ),
    # Spending
    "spent_1": _field("Spending of the latest month", SPENT[0]),
    "spent_mean": _field("Mean spending", mean(SPENT)),
    "spent_of_limit": _field("Mean spending against the limit", f"{mean(SPENT)} / {LIMIT}"),
    "spent_max_of_limit": _field("Largest spending against the limit", f"max({', '.join(SPENT)}) / {LIMIT}"),
    "spent_spread": _field("Spread of spending against the limit", spread(SPENT, LIMIT)),
    "spent_of_bill": _field("Mean spending against the bill before", mean(SPENT_OF_BILL)),
    "spent_of_bill_2": _field("Spending of August against the bill before", SPENT_OF_BILL[1]),
    "limit_per_year": _field("Limit per year of age", f"{LIMIT} / AGE"),
}

GERMAN: Facts = {
    "instalment": _field("Amount per month of the credit", "credit_amount / duration_in_month"),
}

SOUTH_GERMAN: Facts = {
    "instalment": _field("Amount per month of the credit", "hoehe / laufzeit"),
}

DERIVED: dict[str, Facts] = {
    "credit-german": GERMAN,
    "credit-south-german": SOUTH_GERMAN,
    "credit-taiwan-default": TAIWAN,
}
