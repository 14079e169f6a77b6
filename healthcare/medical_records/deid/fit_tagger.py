"""Fitting the tagger: on simulated texts and annotated sentences filled anew, with clusters of an encoder's words."""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from pydantic import Field
from torch import nn

from common.config import Strict
from common.errors import UsageError
from common.progress import bar
from common.text.crf import Crf, log_likelihood
from common.text.identifiers import fold
from common.text.tags import Mark, Tags
from healthcare.medical_records.deid import patterns
from healthcare.medical_records.deid.features import Classes, features, tokens
from healthcare.medical_records.deid.identifiers import Identifier, Kind, resolve
from healthcare.medical_records.deid.simulator import Annotated, pools_of, tables
from healthcare.medical_records.deid.tagger import LABELS, Tagger
from healthcare.medical_records.deid.values import company, person


class Fitting(Strict):
    """How the tagger is fitted."""

    epochs: int = Field(4, ge=1)
    batch: int = Field(32, ge=1, description="texts")
    learning_rate: float = Field(0.02, gt=0, description="of Adam; times 0.6 after every epoch")
    drop: float = Field(0.4, ge=0, lt=1, description="share of features that are hidden: no word may decide alone")
    least: int = Field(3, ge=1, description="tokens in which a feature must stand")
    sure: float = Field(0.9, ge=0, le=1, description="chance of being outside below which a token is masked")
    clusters: tuple[int, int] = Field((512, 64), description="of words, fine and coarse; 0: none")
    encoder: str = "sentence-transformers/all-MiniLM-L6-v2"


def fit_tagger(texts: Sequence[Annotated], settings: Fitting | None = None, *, seed: int = 0) -> Tagger:
    """Fit on texts, by likelihood (Lafferty et al., 2001). Raises `UsageError` when there are none."""
    settings = settings or Fitting()
    if not texts:
        raise UsageError("no texts to fit the tagger on", expected="at least one")
    classes = Classes(
        word_lists(), word_clusters(settings.encoder, settings.clusters) if all(settings.clusters) else {}
    )
    tags, rows, counts = Tags(LABELS), [], Counter[str]()
    for one in texts:
        folded, made, target = targets(one, tags)
        if made:
            rows.append((features(folded, made, classes), target))
            counts.update(name for row in rows[-1][0] for name in row)
    vocabulary = sorted(name for name, count in counts.items() if count >= settings.least)
    column = {name: at for at, name in enumerate(vocabulary)}
    examples = [([[column[x] for x in row if x in column] for row in some], target) for some, target in rows]
    weights, transitions = _fitted(examples, len(vocabulary), tags, settings, seed)
    return Tagger(vocabulary, weights, transitions, classes, settings.sure)


def targets(text: Annotated, tags: Tags) -> tuple[str, list, np.ndarray]:
    """The folded text, its tokens and their tags: what rules find by form is not the tagger's, but in an address."""
    folded = fold(text.text)
    hits = [(it.kind, it.start, it.end) for it in resolve(text.text, patterns.find(folded))]
    made = tokens(folded, hits)
    marks = []
    for it in resolve(text.text, ((it.kind, it.start, it.end) for it in text.identifiers)):
        touched = any(start < it.end and end > it.start for _, start, end in hits)
        if it.kind == "location" or not touched:
            marks.append(Mark(it.start, it.end, it.kind if it.kind in LABELS else "other"))
    return folded, made, tags.of(marks, [(token.start, token.end) for token in made])


def _fitted(
    examples: Sequence[tuple[list[list[int]], np.ndarray]], width: int, tags: Tags, settings: Fitting, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (features, tags) and transitions; texts of like length are in one batch."""
    rng = random.Random(seed)
    bag = nn.EmbeddingBag(width, len(tags), mode="sum", sparse=True)
    nn.init.zeros_(bag.weight)
    crf = Crf(tags.allowed)
    optimisers = (
        torch.optim.SparseAdam([bag.weight], lr=settings.learning_rate),
        torch.optim.Adam(crf.parameters(), lr=settings.learning_rate),
    )
    with bar("fitting the tagger", settings.epochs * len(examples)) as advance:
        for _ in range(settings.epochs):
            order = sorted(range(len(examples)), key=lambda at: len(examples[at][0]) + 6 * rng.random())
            batches = [order[at : at + settings.batch] for at in range(0, len(order), settings.batch)]
            rng.shuffle(batches)
            for some in batches:
                chosen = [examples[at] for at in some]
                longest = max(len(rows) for rows, _ in chosen)
                flat: list[int] = []
                starts: list[int] = []
                target = torch.full((len(chosen), longest), -1)
                for at, (rows, own) in enumerate(chosen):
                    for row in rows:
                        starts.append(len(flat))
                        flat += [name for name in row if rng.random() >= settings.drop]
                    starts += [len(flat)] * (longest - len(rows))
                    target[at, : len(own)] = torch.from_numpy(own)
                scores = bag(torch.tensor(flat), torch.tensor(starts)).view(len(chosen), longest, -1)
                loss = -log_likelihood(scores, crf(), target).mean()
                for optimiser in optimisers:
                    optimiser.zero_grad()
                loss.backward()
                for optimiser in optimisers:
                    optimiser.step()
                advance(len(some))
            for optimiser in optimisers:
                for group in optimiser.param_groups:
                    group["lr"] *= 0.6
    return bag.weight.detach().numpy() * (1 - settings.drop), crf().detach().numpy()


def word_lists() -> dict[str, list[str]]:
    """The lists of `names.toml` that are features, without what the simulator holds out."""
    pools, chinese = pools_of("train", "en"), tables()[0]["zh"]
    kept = ("female", "male", "last", "cities", "countries", "state_names", "groups", "professions", "honorifics")
    lists = {name: list(pools[name]) for name in (*kept, "street_kinds", "suffixes", "institutions")}
    lists["groups"] += [f"{word}s" for word in lists["groups"]]
    return lists | {
        "surname": list(chinese["last"]),
        "given": sorted(set(chinese["female"] + chinese["male"])),
        "town": chinese["towns"].split(),
    }


def word_clusters(encoder: str, sizes: tuple[int, int], *, seed: int = 0) -> dict[str, list[int]]:
    """Words of an encoder's vocabulary to a fine and a coarse cluster of their embeddings, by k-means.

    Raises `ModelUnavailable` when the encoder cannot be had.
    """
    from safetensors.numpy import load_file
    from sklearn.cluster import KMeans, MiniBatchKMeans

    from common.text.hub import resolve as folder_of

    folder = folder_of(encoder)
    arrays = load_file(folder / "model.safetensors")
    table = next(array for name, array in arrays.items() if name.endswith("word_embeddings.weight"))
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    words = [word for word in vocabulary if re.fullmatch(r"[^\W\d_]{1,30}", word)]
    vectors = table[[vocabulary[word] for word in words]].astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    fine = MiniBatchKMeans(sizes[0], random_state=seed, n_init=1, batch_size=2048, max_iter=8, init="random").fit(
        vectors
    )
    coarse = KMeans(sizes[1], random_state=seed, n_init=2).fit_predict(fine.cluster_centers_)
    return {word: [int(label), int(coarse[label])] for word, label in zip(words, fine.labels_, strict=True)}


def plain(texts: Sequence[str], language: str, *, longest: int = 300) -> list[Annotated]:
    """Texts that name nobody, such as abstracts, in pieces at ends of sentences: what rules find in them is no harm."""
    pieces = [piece for text in texts for piece in re.split(r"(?<=[.。;；])\s*(?=\S)", text) if piece]
    return [Annotated(piece[:longest], (), piece[:longest], language) for piece in pieces]


def refilled(texts: Sequence[Annotated], variants: int, *, seed: int) -> list[Annotated]:
    """Every template of annotated texts `variants` times, each identifier replaced by another of its kind.

    Half of the names and employers are made up, so that none is learned by heart; some texts are in small letters.
    """
    rng = random.Random(seed)
    values: dict[str, list[str]] = defaultdict(list)
    lines: dict[str, list[Annotated]] = defaultdict(list)
    for one in texts:
        lines[one.template].append(one)
        for it in one.identifiers:
            values[_sort(it)].append(it.text)
    made = []
    for some in lines.values():
        for _ in range(variants if some[0].identifiers else max(1, variants // 6)):
            made.append(_refilled(rng.choice(some), values, rng))
    return made


def _sort(it: Identifier) -> str:
    """Kind and form: a house number is not replaced by a whole address."""
    digits = sum(c.isdigit() for c in it.text)
    form = "number" if digits * 2 > len(it.text) else "long" if len(it.text) > 25 else "digits" if digits else "words"
    return f"{it.kind} {form}" if it.kind in ("location", "date") else it.kind


def _refilled(text: Annotated, values: Mapping[str, Sequence[str]], rng: random.Random) -> Annotated:
    pools, out, at = pools_of("train", "en"), "", 0
    spans: list[tuple[Kind, int, int]] = []
    for it in text.identifiers:
        out += text.text[at : it.start]
        maker = {"name": person, "organization": company}.get(it.kind)
        value = maker(pools, rng) if maker and rng.random() < 0.5 else rng.choice(values[_sort(it)])
        chance = rng.random()
        value = value.lower() if chance < 0.05 else value.upper() if chance < 0.08 else value
        spans.append((it.kind, len(out), len(out) + len(value)))
        out, at = out + value, it.end
    out += text.text[at:]
    if rng.random() < 0.05 and len(out.lower()) == len(out):
        out = out.lower()
    return Annotated(out, tuple(Identifier.of(k, out, s, e) for k, s, e in spans), text.template, text.language)
