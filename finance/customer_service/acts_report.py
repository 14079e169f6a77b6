"""How well dialogue acts are read: F1 on CrossWOZ's test dialogues, opened here alone."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from common.data.card import load_card
from common.data.fetch import data_sha256
from common.evaluation.metrics import interval
from common.evaluation.report import Metric, Report, Seconds
from common.progress import working
from common.provenance import commit, machine, peak_rss_mb
from finance.customer_service.acts import fit_acts
from finance.customer_service.acts_data import DATASET, Act, Turn, load_dialogues
from finance.customer_service.acts_features import Lexicon


def counts(dialogues: Sequence[Sequence[Turn]], found: Sequence[Sequence[set[Act]]]) -> np.ndarray:
    """Right, said and true acts of each dialogue, (dialogues, 3)."""
    return np.array(
        [
            [
                sum(len(acts & set(turn.acts)) for turn, acts in zip(dialogue, read, strict=True)),
                sum(map(len, read)),
                sum(len(turn.acts) for turn in dialogue),
            ]
            for dialogue, read in zip(dialogues, found, strict=True)
        ]
    )


def f1(table: np.ndarray) -> float:
    """Micro-averaged F1 of a table of `counts`."""
    right, said, true = table.sum(0)
    return float(2 * right / (said + true)) if right else 0.0


def floor(train: Sequence[Sequence[Turn]], test: Sequence[Sequence[Turn]]) -> list[list[set[Act]]]:
    """The most frequent act of each speaker, said of every message."""
    often: dict[str, Counter[Act]] = defaultdict(Counter)
    for turn in (turn for dialogue in train for turn in dialogue):
        often[turn.speaker].update(turn.acts)
    most = {speaker: {found.most_common(1)[0][0]} for speaker, found in often.items()}
    return [[most[turn.speaker] for turn in dialogue] for dialogue in test]


def lookup(train: Sequence[Sequence[Turn]], test: Sequence[Sequence[Turn]]) -> list[list[set[Act]]]:
    """A baseline without learning: a message said before keeps its acts, known values the act they most often had."""
    lexicon, whole = Lexicon(train), {(turn.speaker, turn.text): set(turn.acts) for some in train for turn in some}
    often: dict[tuple[str, str], Counter[Act]] = defaultdict(Counter)
    for turn in (turn for dialogue in train for turn in dialogue):
        for act in turn.acts:
            often[turn.speaker, act[3]][act] += 1

    def read(turn: Turn) -> set[Act]:
        values = {turn.text[start:end] for start, end, _ in lexicon.find(turn.text)}
        known = [
            often[turn.speaker, value].most_common(1)[0][0] for value in values if often.get((turn.speaker, value))
        ]
        return whole.get((turn.speaker, turn.text), set(known))

    return [[read(turn) for turn in dialogue] for dialogue in test]


def evaluate_acts(preset: str = "reference", seed: int = 0, part: str = "test") -> Report:
    """The report of a model that learnt from the validation dialogues, on the test dialogues, opened here alone.

    The interval is a bootstrap over dialogues.
    """
    started = time.perf_counter()
    card, train = load_card(DATASET), load_dialogues("val")
    loaded = time.perf_counter()
    with working("dialogue acts: fit"):
        model = fit_acts(train, seed)
    fitted = time.perf_counter()
    test = load_dialogues(part)
    table = counts(test, [model.read(dialogue) for dialogue in test])
    rng = np.random.default_rng(seed)
    low, high = interval(f1(table), [f1(table[rng.integers(0, len(table), len(table))]) for _ in range(1000)])
    done = time.perf_counter()
    return Report(
        system="finance.customer_service",
        preset=preset,
        dataset=DATASET,
        protocol="val-to-test",
        simulated=False,
        data_sha256=data_sha256(card),
        metrics={"f1": Metric(value=f1(table), low=low, high=high, n=len(test))},
        floor={"f1": f1(counts(test, floor(train, test)))},
        baselines={"value lookup": {"f1": f1(counts(test, lookup(train, test)))}},
        published=[entry for entry in card.published if entry.metric == "f1"],
        seconds=Seconds(data=loaded - started, train=fitted - loaded, evaluate=done - fitted),
        peak_rss_mb=peak_rss_mb(),
        machine=machine(),
        commit=commit(),
    )
