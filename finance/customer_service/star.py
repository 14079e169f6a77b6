"""Which action comes next in STAR's banking dialogues: its flow charts followed, and a classifier that knows them.

The assistants were people with a flow chart, who left it where a customer did (302 of 519 dialogues are unhappy on
purpose), so no follower of charts can always be right. Two readers: `follow` knows the chart, what was done already,
what the bank answered, and a dozen words ("I forgot"); it has learnt nothing. `Learnt` adds the customer's words, by
logistic regression over n-grams beside the chart's proposal. Five folds over dialogues, so that no dialogue is on both
sides. Next-action prediction: Mosig, Mehri & Kober (2020), whose protocol is over all 24 tasks.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.data.card import load_card
from common.data.fetch import data_sha256
from common.evaluation.metrics import interval
from common.evaluation.report import Metric, Report, Seconds, Slice
from common.progress import working
from common.provenance import commit, machine, peak_rss_mb
from finance.customer_service.data import paths

DATASET = "service-star-bank"
FOLDS = 5
QUERY = "query"
FORGOT = re.compile(
    r"\b(forgot|forget|forgotten|remember|recall|don'?t (know|have)|do not (know|have)|no idea|not sure|lost|can'?t)\b",
    re.IGNORECASE,
)
LEAVES = re.compile(
    r"\b(thanks?|thank you|bye|goodbye|no|nope|nothing|good|great|that'?s all|all set)\b", re.IGNORECASE
)
GREETS = re.compile(r"^\W*(hi|hello|hey|good (morning|day|evening|afternoon))\b.{0,20}$", re.IGNORECASE)
FIRST = ("ask_name", "bank_ask_account_number", "bank_ask_pin")
SECOND = ("bank_ask_dob", "bank_ask_mothers_maiden_name", "bank_ask_childhood_pets_name")

Chart = Mapping[str, str]


@dataclass(frozen=True)
class Point:
    """A moment at which the assistant acts: what was done before (oldest first), what the customer and the bank have
    said since, and the action that was taken."""

    dialogue: str
    task: str
    happy: bool
    done: tuple[str, ...]
    said: str
    bank: str
    action: str


def points(dialogue: Mapping[str, Any], name: str) -> list[Point]:
    """The moments of one dialogue as the data set has it: suggestions that were picked, and queries of the bank."""
    scenario = dialogue["Scenario"]
    found: list[Point] = []
    done: list[str] = []
    said, bank = "", ""
    for event in dialogue["Events"]:
        who, what = event["Agent"], event["Action"]
        if (who, what) == ("User", "utter"):
            said = f"{said} {event['Text']}".strip()
        elif who == "KnowledgeBase":
            bank = "failure" if "Message" in event["Item"] else "success"
        elif who == "Wizard" and what in ("pick_suggestion", QUERY):
            action = event.get("ActionLabel") or QUERY
            task = scenario["WizardCapabilities"][0]["Task"]
            found.append(Point(name, task, scenario["Happy"], tuple(done), said, bank, action))
            done.append(action)
            said, bank = "", ""
    return found


def load() -> tuple[list[list[Point]], dict[str, Chart]]:
    """The complete dialogues, and the chart of each task; raises `DatasetUnavailable`."""
    files = paths(DATASET)
    read = {path: json.loads(files[path].read_text(encoding="utf-8")) for path in sorted(files)}
    charts = {
        path.split("/")[1]: each["graph"]
        for path, each in read.items()
        if path.startswith("tasks/") and "graph" in each
    }
    talks = {path: each for path, each in read.items() if path.startswith("dialogues/")}
    whole = [points(each, path) for path, each in talks.items() if each["CompletionLevel"] == "Complete"]
    return [each for each in whole if each], charts


def follow(chart: Chart, point: Point) -> str:
    """What the chart says comes next, without having learnt anything."""
    last = next((action for action in reversed(point.done) if action != "out_of_scope"), "")
    if point.bank:
        return chart["query_success" if point.bank == "success" else "query_failure"]
    if not last:
        return "hello" if not point.said or GREETS.search(point.said) else chart["hello"]
    if last in FIRST and FORGOT.search(point.said):
        proposal = chart["info_missing"]
    elif last in SECOND and FORGOT.search(point.said):
        return chart["info_missing2"]
    elif last in ("anything_else", "goodbye_1") or last not in chart:
        informed = last.startswith("bank_inform") and not LEAVES.search(point.said)
        return "anything_else" if informed else "goodbye_1"
    else:
        proposal = chart[last]
    while proposal in point.done and proposal in chart and proposal != QUERY:
        proposal = chart[proposal]
    return proposal


class Learnt:
    """Logistic regression over the chart's proposal, what was done, what the bank said, and the customer's n-grams."""

    def __init__(self, charts: Mapping[str, Chart], seed: int) -> None:
        self.charts, self.seed = charts, seed

    def fit(self, train: Sequence[Point]) -> Learnt:
        """Learn from some moments."""
        from sklearn.feature_extraction import DictVectorizer
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        self.facts = DictVectorizer().fit([self._facts(point) for point in train])
        self.words = TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True).fit([p.said for p in train])
        self.model = LogisticRegression(C=3.0, max_iter=2000, random_state=self.seed)
        self.model.fit(self._features(train), [point.action for point in train])
        return self

    def predict(self, some: Sequence[Point]) -> list[str]:
        """The action of each moment."""
        return [str(action) for action in self.model.predict(self._features(some))]

    def _features(self, some: Sequence[Point]) -> Any:
        from scipy.sparse import hstack

        facts = self.facts.transform([self._facts(point) for point in some])
        return hstack([facts, self.words.transform([point.said for point in some])]).tocsr()

    def _facts(self, point: Point) -> dict[str, Any]:
        last, before = (*("", ""), *point.done)[-1], ("", "", *point.done)[-2]
        proposal = follow(self.charts[point.task], point)
        told = bool(point.said) + bool(FORGOT.search(point.said))
        facts = {"last": last, "before": f"{before}>{last}", "chart": proposal, "bank": point.bank or "none"}
        facts |= {"task": f"{point.task}:{last}", "told": f"{last}:{told}", "digits": f"{last}:{_digits(point.said)}"}
        return {**facts, **{f"done {action}": 1 for action in set(point.done)}, "queries": point.done.count(QUERY)}


def _digits(said: str) -> int:
    return min(sum(char.isdigit() for char in said), 12) // 4


def evaluate_star(preset: str = "reference", seed: int = 0) -> Report:
    """The report over five folds of dialogues; the interval is a bootstrap over dialogues."""
    started = time.perf_counter()
    dialogues, charts = load()
    loaded = time.perf_counter()
    fold = np.random.default_rng(seed).permutation(len(dialogues)) % FOLDS
    names = ("learnt", "chart", "floor")
    right: dict[str, list[np.ndarray]] = {name: [np.zeros(0)] * len(dialogues) for name in names}
    with working("STAR: five folds"):
        for part in range(FOLDS):
            train = [point for at in np.flatnonzero(fold != part) for point in dialogues[at]]
            model = Learnt(charts, seed).fit(train)
            often = Counter(point.action for point in train).most_common(1)[0][0]
            for at in np.flatnonzero(fold == part):
                some = dialogues[at]
                said = {
                    "learnt": model.predict(some),
                    "chart": [follow(charts[point.task], point) for point in some],
                    "floor": [often] * len(some),
                }
                for name in names:
                    hits = [guess == point.action for guess, point in zip(said[name], some, strict=True)]
                    right[name][at] = np.array(hits, float)
    done = time.perf_counter()
    happy = np.array([each[0].happy for each in dialogues])
    return Report(
        system="finance.customer_service",
        preset=preset,
        dataset=DATASET,
        protocol="5fold-dialogues",
        simulated=False,
        data_sha256=data_sha256(load_card(DATASET)),
        metrics={"accuracy": _metric(right["learnt"], seed)},
        floor={"accuracy": _metric(right["floor"], seed).value},
        baselines={"flow chart, nothing learnt": {"accuracy": _metric(right["chart"], seed).value}},
        slices=[
            Slice(
                name="path",
                group=group,
                metrics={"accuracy": _metric([right["learnt"][at] for at in np.flatnonzero(happy == which)], seed)},
            )
            for group, which in (("happy", True), ("unhappy", False))
        ],
        seconds=Seconds(data=loaded - started, train=0.0, evaluate=done - loaded),
        peak_rss_mb=peak_rss_mb(),
        machine=machine(),
        commit=commit(),
    )


def _metric(right: Sequence[np.ndarray], seed: int) -> Metric:
    hits, count = np.array([each.sum() for each in right]), np.array([len(each) for each in right])
    value, rng = hits.sum() / count.sum(), np.random.default_rng(seed)
    draws = rng.integers(0, len(right), (1000, len(right)))
    low, high = interval(value, hits[draws].sum(1) / count[draws].sum(1))
    return Metric(value=value, low=low, high=high, n=int(count.sum()))
