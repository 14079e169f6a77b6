"""The bank behind the dialogue: what its operations are asked by, and one that lives in memory for tests and demos."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from itertools import count
from threading import Lock
from typing import Protocol

Values = Mapping[str, str]
MOST_DONE = 10_000
"""Operations that the bank in memory remembers."""


class BankError(Exception):
    """An operation did not succeed; `code` is one of the errors that `operations.toml` gives it."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class Bank(Protocol):
    """A bank that carries out operations."""

    def call(self, operation: str, arguments: Values, *, customer: str, key: str) -> dict[str, str]:
        """The outputs of an operation for a customer ("": not known yet); raises `BankError`.

        A second call with the same `key` has no second effect and the same answer.
        """


class MemoryBank:
    """A bank of two customers. `faults` may raise a `BankError` for an operation before (`"before"`) or after
    (`"after"`) its effect, as a lost answer does."""

    def __init__(self, today: date, faults: Callable[[str, str], None] = lambda operation, when: None) -> None:
        self.today, self.faults = today, faults
        self.people = {"62220001": ("c1", "1990-04-12"), "62220002": ("c2", "1985-11-30")}
        self.cards = {"1234": ("c1", "active"), "5678": ("c1", "active"), "4321": ("c2", "active")}
        self.limits = {"1234": Decimal(500), "5678": Decimal(1000), "4321": Decimal(500)}
        self.balances = {"c1": ("1234.50", "EUR"), "c2": ("88.00", "CNY")}
        self.transfers = {("c1", "250.00"): "on_its_way", ("c1", "99.90"): "returned", ("c2", "40.00"): "arrived"}
        self.rates = {"USD": "1.0832", "GBP": "0.8571", "CNY": "7.8120", "JPY": "162.4", "CHF": "0.9450"}
        self.wrong: dict[str, int] = {}
        self.disputes: set[tuple[str, str]] = set()
        self.done: dict[str, dict[str, str]] = {}
        self.log: deque[tuple[str, str, dict[str, str]]] = deque(maxlen=MOST_DONE)
        self._handed_over, self._lock = count(1), Lock()

    def call(self, operation: str, arguments: Values, *, customer: str, key: str) -> dict[str, str]:
        """See `Bank`."""
        self.faults(operation, "before")
        with self._lock:
            if key not in self.done:
                found = getattr(self, f"_{operation}")(customer, **arguments)
                self.log.append((operation, customer, dict(arguments)))
                self.done[key] = found
                if len(self.done) > MOST_DONE:
                    del self.done[next(iter(self.done))]
            found = dict(self.done[key])
        self.faults(operation, "after")
        return found

    def _start_verification(self, customer: str, account: str, birth: str) -> dict[str, str]:
        if self.wrong.get(account, 0) >= 3:
            raise BankError("locked")
        return {}

    def _verify_code(self, customer: str, account: str, birth: str, code: str) -> dict[str, str]:
        if self.wrong.get(account, 0) >= 3:
            raise BankError("locked")
        found = self.people.get(account)
        if found is None or found[1] != birth or code != "246810":
            self.wrong[account] = self.wrong.get(account, 0) + 1
            raise BankError("wrong")
        return {"customer": found[0]}

    def _balance(self, customer: str) -> dict[str, str]:
        if customer not in self.balances:
            raise BankError("no_account")
        amount, currency = self.balances[customer]
        return {"balance": amount, "currency": currency}

    def _own(self, customer: str, card: str) -> str:
        last = card[-4:]
        if self.cards.get(last, ("", ""))[0] != customer:
            raise BankError("not_found")
        return last

    def _block_card(self, customer: str, card: str) -> dict[str, str]:
        last = self._own(customer, card)
        if self.cards[last][1] == "blocked":
            raise BankError("already_blocked")
        self.cards[last] = (customer, "blocked")
        return {"reference": f"B-{last}"}

    def _order_card(self, customer: str, card: str) -> dict[str, str]:
        self._own(customer, card)
        return {"arrival": (self.today + timedelta(days=5)).isoformat()}

    def _find_transfer(self, customer: str, amount: str, date: str) -> dict[str, str]:
        figure, currency = _money(amount)
        status = self.transfers.get((customer, f"{figure:.2f}"))
        if currency not in ("", self.balances[customer][1]):
            status = None
        if status is None:
            raise BankError("not_found")
        return {"status": status, "arrival": (self.today + timedelta(days=1)).isoformat()}

    def _set_limit(self, customer: str, card: str, amount: str) -> dict[str, str]:
        last = self._own(customer, card)
        if self.cards[last][1] == "blocked":
            raise BankError("card_blocked")
        figure, currency = _money(amount)
        if currency not in ("", self.balances[customer][1]):
            raise BankError("other_currency")
        if figure > 5000:
            raise BankError("too_high")
        self.limits[last] = figure
        return {}

    def _open_dispute(
        self, customer: str, card: str, amount: str, date: str, reason: str, details: str
    ) -> dict[str, str]:
        last = self._own(customer, card)
        if (last, amount) in self.disputes:
            raise BankError("already_open")
        if (self.today - type(self.today).fromisoformat(date)).days > 120:
            raise BankError("too_old")
        self.disputes.add((last, amount))
        return {"reference": f"D-{len(self.disputes)}"}

    def _exchange_rate(self, customer: str, currency: str) -> dict[str, str]:
        if currency not in self.rates:
            raise BankError("unknown_currency")
        return {"rate": self.rates[currency], "base": "EUR"}

    def _hand_over(self, customer: str, summary: str) -> dict[str, str]:
        return {"reference": f"H-{next(self._handed_over)}"}


def _money(amount: str) -> tuple[Decimal, str]:
    figure, _, currency = amount.partition(" ")
    return Decimal(figure), currency
