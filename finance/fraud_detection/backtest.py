"""Rules on the transactions that training knew, before anybody publishes them.

    python -m finance.fraud_detection.backtest BUNDLE rules.toml --days 30

Measured is what came before the moment of the bundle's test, with the labels known then, so that the test stays closed
to rules too. Features are those that each transaction had when it came; `score` is that of the bundle's champion, which
is optimistic on what the champion learned from: `--unseen` leaves these transactions out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from common.bundle import Bundle
from common.cli import open_address
from common.errors import DataError, EspalierError, UsageError
from common.progress import working
from finance.fraud_detection import SYSTEM
from finance.fraud_detection.clock import DAY
from finance.fraud_detection.config import Config
from finance.fraud_detection.data import load
from finance.fraud_detection.ensemble import Inputs
from finance.fraud_detection.fit import table_of
from finance.fraud_detection.history import history
from finance.fraud_detection.prequential import moment_of
from finance.fraud_detection.rule_history import Backtest, Past, fields_of, measure
from finance.fraud_detection.rules import read_rules
from finance.fraud_detection.serve import FraudPredictor
from finance.fraud_detection.train import CLOSED_DATA, told


def past_of(bundle: Bundle, predictor: FraudPredictor, days: float) -> Past:
    """The last `days` before the moment of the bundle's test, from the data it was trained on.

    Raises `DataError` when the data are other ones now, `UsageError` when no transaction is so recent, and what
    `data.load` raises.
    """
    config = Config.model_validate(bundle.manifest.config)
    with working("loading transactions"):
        events = load(config)
    if events.sha256 != bundle.json("data.json")["cards"][0]["sha256"]:
        fix = "train the bundle again on this data"
        raise DataError("not the data that the bundle was trained on", where=config.dataset, fix=fix)
    at = int(predictor.kept["known_until"])
    learned = np.zeros(len(events), bool)
    learned[moment_of(config, events).train] = True
    rows = np.flatnonzero((events.time < at) & (events.time >= at - days * DAY))
    if not len(rows):
        raise UsageError("no transaction is so recent", where="--days", got=f"{days:g}", expected=f"before {told(at)}")
    known, some = events.rows(events.time < at), events.rows(rows)
    counts = history(predictor.definition, table_of(known), rows)
    texts: dict[str, np.ndarray] = {}
    for name, values in some.entities.items():
        texts[name] = values.copy()
        texts[name][values == ""] = None
    return Past(
        definition=predictor.definition,
        inputs=Inputs.of(predictor.definition, counts, some.time, some.amount),
        time=some.time,
        amount=some.amount,
        fraud=np.where(some.label_time <= at, some.fraud, -1),
        learned=learned[rows],
        texts=texts | {"currency": np.full(len(rows), events.currency, object)},
        score=predictor.score,
        simulated=events.simulated,
    )


def main() -> None:
    """Print what the rules would have done; an error is one sentence on stderr and its exit code."""
    parser = argparse.ArgumentParser(description="Measure rules on the transactions that training knew.")
    parser.add_argument("bundle", help="folder, or models:/<system>@<alias>")
    parser.add_argument("rules", type=Path, help="a rule set, .json or .toml")
    parser.add_argument("--days", type=float, default=30, help="so many before the moment of the bundle's test")
    parser.add_argument("--unseen", action="store_true", help="leave out what the champion learned from")
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")
    asked = parser.parse_args()
    try:
        found = _run(asked.bundle, asked.rules, asked.days, asked.unseen)
    except (EspalierError, OSError) as error:
        print(f"espalier: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 1))
    print(found.model_dump_json(indent=1)) if asked.json else show(found)


def _run(address: str, rules: Path, days: float, unseen: bool) -> Backtest:
    ruleset, bundle = read_rules(rules), open_address(address)
    if bundle.manifest.system != SYSTEM.name:
        raise UsageError("a bundle of another system", where=address, got=bundle.manifest.system, expected=SYSTEM.name)
    predictor = FraudPredictor.load(bundle)
    fields = fields_of(ruleset, predictor.schema)  # before the data: what is misspelt is told at once
    past = past_of(bundle, predictor, days)
    if unseen:
        past = past.part(~past.learned)
        if not (past.fraud >= 0).any():
            fix = "give more --days, or train with periods.train_days shorter than the data"
            raise UsageError("the champion learned from all transactions with a label", where="--unseen", fix=fix)
    with working("measuring rules"):
        return measure(ruleset, past, fields, *([CLOSED_DATA] if past.simulated else []))


def show(found: Backtest) -> None:
    """The result as a table on stdout, then what to keep in mind."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("rule", "action", "hits", "new", "precision", "recall", "fraud", "good"):
        table.add_column(name, justify="left" if name in ("rule", "action") else "right", no_wrap=name != "rule")
    for rule in found.rules:
        span = f"\n{rule.interval[0]:.3f}–{rule.interval[1]:.3f}" if rule.interval else ""
        unknown = f"\n{rule.unknown:,} unknown" if rule.unknown else ""
        counts = (f"{rule.hits:,}{unknown}", f"{rule.new_hits:,}")
        rates = (_rate(rule.precision) + span, _rate(rule.recall))
        table.add_row(
            rule.name, f"{rule.action}\n{rule.mode}", *counts, *rates, f"{rule.fraud_amount:,}", f"{rule.good_amount:,}"
        )
    period = f"{found.transactions:,} transactions from {found.since:%Y-%m-%d} to {found.until:%Y-%m-%d}"
    print(f"{period}, {found.labelled:,} with a known label, {found.frauds:,} of them fraud")
    if found.rules:
        Console().print(table, markup=False)
        print("new: hits of no rule above; precision with its 95 % interval; fraud and good: amounts in minor units")
    for note in found.notes:
        print(f"note: {note}")


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
