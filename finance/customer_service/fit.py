"""Fit a classifier and what it promises: kinds and phrases are left out in turn, and scored by who never saw them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from common.errors import UsageError
from finance.customer_service.config import Config
from finance.customer_service.data import Utterances
from finance.customer_service.head import Head, tuned
from finance.customer_service.model import Classifier, sharpness_of
from finance.customer_service.reader import read
from finance.customer_service.refusal import Gate, set_threshold
from finance.customer_service.space import Space, frozen

FEWEST_INTENTS, FEWEST_ROWS = 4, 20


@dataclass(frozen=True)
class Held:
    """Scores of models that had not seen what they score, in rows; `kind` is empty in scope.

    `right` tells in scope whether the best intent is the one meant, `chance` is the probability of the one meant.
    """

    score: np.ndarray
    language: np.ndarray
    kind: np.ndarray
    right: np.ndarray
    chance: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """bool (rows,): in scope."""
        return self.kind == ""


@dataclass(frozen=True)
class Fitted:
    """A classifier for `languages`, the gate of each, and the least chance of an intent in a question."""

    classifier: Classifier
    gates: dict[str, Gate]
    in_question: float
    metrics: dict[str, Any]


def fit(config: Config, data: Utterances, languages: tuple[str, ...]) -> Fitted:
    """Fit on all of `data`; promise for the languages, from models of its folds.

    Raises `UsageError` for too few intents or utterances to leave any out.
    """
    enough(data, languages)
    spaces = Spaces(config, data, languages)
    sharpness, held = cross_fit(config, data, spaces)
    final = replace(classifier(config, data, np.ones(len(data), bool), spaces), sharpness=sharpness)
    gates: dict[str, Gate] = {}
    metrics: dict[str, Any] = {}
    for language in languages:
        here = held.language == language
        gates[language] = strictest(held, here, config.refusal.recall)
        metrics |= {f"valid_{name}_{language}": value for name, value in told(held, gates[language], here).items()}
    known = held.known & np.isin(held.language, languages)
    metrics["valid_accuracy"] = float(held.right[known].mean())
    return Fitted(final, gates, set_threshold(held.chance[known], config.refusal.coverage), metrics)


def enough(data: Utterances, languages: tuple[str, ...]) -> None:
    """Raise `UsageError` unless intents and phrases can be left out in each language, and some remain."""
    fix = "give more utterances, labelled with what they mean"
    if (count := len(np.unique(data.intent[data.known]))) < FEWEST_INTENTS:
        raise UsageError("too few intents to leave any out", got=count, expected=f"at least {FEWEST_INTENTS}", fix=fix)
    for language in languages:
        if (count := int((data.known & (data.language == language)).sum())) < FEWEST_ROWS:
            expected = f"at least {FEWEST_ROWS}"
            raise UsageError("too few utterances", where=f"language {language}", got=count, expected=expected, fix=fix)


class Spaces:
    """The frozen encoder's space, made once, and heads tuned on the very rows; neither for n-grams alone."""

    def __init__(self, config: Config, data: Utterances, languages: tuple[str, ...]) -> None:
        self.config, self.data = config, data
        self.used = config.model != "ngram" and set(languages) <= set(config.encoder_languages)
        self._frozen: Space | None = None

    @property
    def frozen(self) -> Space | None:
        """Where the encoder may be used."""
        if self.used and self._frozen is None:
            self._frozen = Space.fit(frozen(self.config.backbone), self.data.text.tolist(), self.config.size)
        return self._frozen

    def head(self, texts: list[str], labels: np.ndarray) -> Head | None:
        """Where the encoder is tuned."""
        return tuned(self.config, texts, labels) if self.used and self.config.model != "frozen" else None


def classifier(config: Config, data: Utterances, rows: np.ndarray, spaces: Spaces) -> Classifier:
    """Of the rows where `rows` is true."""
    texts, labels, space = data.text[rows].tolist(), data.intent[rows], spaces.frozen
    if space is None:
        return Classifier.linear(texts, labels, config.grams, config.c, config.seed)
    return Classifier.kernel(texts, labels, config.grams, config.kernel, space, spaces.head(texts, labels))


def cross_fit(config: Config, data: Utterances, spaces: Spaces) -> tuple[float, Held]:
    """The inverse temperature, and scores of each fold by a model without its phrases and without its kinds."""
    kind, folds = kinds_of(data), config.refusal.folds
    rng = np.random.default_rng(config.seed)
    kind_fold, phrase_fold = _dealt(kind, folds, rng), _dealt(data.group, folds, rng)
    models, raw, labels = [], [], []
    for fold in range(folds):
        model = classifier(config, data, (kind_fold != fold) & (phrase_fold != fold), spaces)
        rows = _known_rows(data, kind_fold, phrase_fold, fold)
        models.append(model)
        raw.append(model.scores(data.text[rows].tolist()))
        labels.append(np.searchsorted(model.classes, data.intent[rows]))
    sharpness = sharpness_of(raw, labels)
    parts = []
    for fold, model in enumerate(models):
        sharp = replace(model, sharpness=sharpness)
        known, unknown = _known_rows(data, kind_fold, phrase_fold, fold), np.flatnonzero(kind_fold == fold)
        parts += [
            _held(sharp, data, known, np.full(len(known), "", object)),
            _held(sharp, data, unknown, kind[unknown]),
        ]
    return sharpness, Held(*(np.concatenate([getattr(p, n) for p in parts]) for n in Held.__dataclass_fields__))


def kinds_of(data: Utterances) -> np.ndarray:
    """object (rows,): the intent, or the kind of what is out of scope; without a name each row is a kind of its own."""
    own = np.array([f"{kind}#{row}" if "." not in kind else kind for row, kind in enumerate(data.kind)], dtype=object)
    return np.where(data.known, np.array([f"intent.{name}" for name in data.intent], dtype=object), own)


def strictest(held: Held, here: np.ndarray, recall: float) -> Gate:
    """The gate that keeps the promise both near the known ones and elsewhere, by rows `here` (mask).

    A group of too few kinds to promise it has no say: one row that is labelled wrongly would refuse everybody.
    """
    near = np.array([kind.startswith(("near", "intent")) for kind in held.kind])
    known, gates = held.score[here & held.known], []
    for out in (here & near, here & ~near & ~held.known):
        if out.any():
            gates.append(Gate.fit(known, held.score[out], held.kind[out], recall))
    able = [gate for gate in gates if gate.promised == recall]
    return max(able or gates[:1], key=lambda gate: gate.threshold)


def told(held: Held, gate: Gate, here: np.ndarray) -> dict[str, float]:
    """What the gate does to held-out requests: each kind counts the same."""
    refused = gate.refuses(held.score)
    found = {"refused_in_scope": float(refused[here & held.known].mean()), "promised": gate.promised}
    for scope in ("intent", "near", "far"):
        mine = here & np.array([kind.startswith(scope) for kind in held.kind])
        if mine.any():
            shares = [refused[mine & (held.kind == kind)].mean() for kind in np.unique(held.kind[mine])]
            found[f"recall_{scope}"] = float(np.mean(shares))
    return found


def _known_rows(data: Utterances, kind_fold: np.ndarray, phrase_fold: np.ndarray, fold: int) -> np.ndarray:
    return np.flatnonzero(data.known & (kind_fold != fold) & (phrase_fold == fold))


def _held(model: Classifier, data: Utterances, rows: np.ndarray, kind: np.ndarray) -> Held:
    readings = read(model, data.text[rows].tolist())
    best = np.array([model.intents[int(one.chances.argmax())] for one in readings], dtype=object)
    place = {name: position for position, name in enumerate(model.intents)}
    chance = [one.chances[place[i]] if i in place else 0.0 for one, i in zip(readings, data.intent[rows], strict=True)]
    score = np.array([one.score for one in readings])
    return Held(score, data.language[rows], kind, best == data.intent[rows], np.array(chance))


def _dealt(names: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """int (rows,): a fold for every name, as many names in each."""
    distinct, place = np.unique(names, return_inverse=True)
    fold: np.ndarray = rng.permutation(len(distinct)) % folds
    return fold[place]
