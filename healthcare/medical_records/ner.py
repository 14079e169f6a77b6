"""Entities of a note: token models trained on published texts, and what a model's labels mean here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, get_args

from pydantic import Field

from common.config import Strict
from healthcare.medical_records.spans import Entity, Kind

if TYPE_CHECKING:
    from common.text.encoder import Encoder
    from common.text.tags import Mark
    from common.text.units import Kind as Units
    from healthcare.medical_records.ner_data import Marked

KINDS: dict[str, Kind] = {
    **{kind: kind for kind in get_args(Kind)},
    "疾病和诊断": "disease",
    "药物": "drug",
    "症状": "symptom",
    "body": "anatomy",
    "解剖部位": "anatomy",
    "影像检查": "test",
    "实验室检验": "test",
    "treatment": "procedure",
    "手术": "procedure",
}
"""What the labels of the corpora are called here, our own as they are; others (who, when) are no entities."""


class Finder(Protocol):
    """What finds marks: an `OnnxTagger`."""

    def marks(self, texts: Sequence[str]) -> list[list[Mark]]:
        """Of every text, in order."""
        ...


def find_entities(notes: Sequence[str], finder: Finder) -> list[list[Entity]]:
    """Entities of every note in the order of the text, without assertion or codes; `text` is what stands there."""
    return [
        [
            Entity(KINDS[mark.label], mark.start, mark.end, note[mark.start : mark.end])
            for mark in own
            if mark.label in KINDS
        ]
        for note, own in zip(notes, finder.marks(notes), strict=True)
    ]


class Recipe(Strict):
    """How the token model of one corpus is made; `RECIPES` has one for each."""

    tagging: dict[str, Any] = Field({}, description="of `common.text.tagger.Tagging`")
    backbone: str | None = Field(None, description="a pretrained encoder, tuned with the rest; none: a BiLSTM alone")
    layers: int | None = Field(None, ge=0, description="of the backbone that are kept, the first ones; none: all")
    small: dict[str, Any] | None = Field(
        None, description="of `common.text.masked.Small`: an encoder from nothing in place of a backbone"
    )
    pretraining: dict[str, Any] | None = Field(
        None, description="of `common.text.masked.Masking`: the encoder is pre-trained on all texts first"
    )
    vectors: bool = Field(False, description="embeddings begin as vectors of the surroundings in all texts")
    memory: list[int] = Field([], description="sizes of `common.text.memory.Memory`")
    same: bool = Field(False, description="marks are made consistent within each text")
    members: int = Field(1, ge=1, description="models that differ in their seed, whose scores are averaged")
    further: list[dict[str, Any]] = Field([], description="further members: what differs from this recipe in each")
    longest: int = Field(128, ge=8, description="units of a window")
    int8: bool = Field(False, description="weights of the exported graph as whole numbers of 8 bits")


_MINILM = "sentence-transformers/all-MiniLM-L6-v2"
_SCHEDULE = {"batch": 32, "learning_rate": 4e-3, "largest_gradient": 1.0}
_TUNED = {"batch": 16, "learning_rate": 2e-3, "backbone_rate": 0.05, "largest_gradient": 1.0}
_SERVED = {
    "layers": 0,
    "tagging": {"mode": "frozen", "dropout": 0.5, "forget": 0.1, "optimisation": {"epochs": 12, **_SCHEDULE}},
}
RECIPES = {
    "cehrner": Recipe(
        vectors=True,
        memory=[7, 5, 3],
        tagging={"hidden": 160, "dropout": 0.5, "forget": 0.1, "optimisation": {"epochs": 16, **_SCHEDULE}},
        members=2,
    ),
    "cmedqaner": Recipe(
        vectors=True,
        memory=[7, 5, 3],
        tagging={"dropout": 0.5, "forget": 0.2, "optimisation": {"epochs": 12, **_SCHEDULE}},
        members=3,
    ),
    "ncbi-disease": Recipe(
        backbone=_MINILM,
        vectors=True,
        same=True,
        tagging={"dropout": 0.4, "forget": 0.1, "optimisation": {"epochs": 6, **_TUNED}},
        further=[_SERVED, _SERVED],
    ),
    "served": Recipe(backbone=_MINILM, vectors=True, same=True, int8=True, **_SERVED),
}
"""Of the published corpora, chosen on their development parts; the two Chinese ones are each other's `others`.

`served` is for the NCBI disease corpus too: MiniLM's embeddings without its layers, for many notes a second.
"""


def train_ner(
    train: Marked, valid: Marked, recipe: Recipe, *, seed: int, others: Sequence[Marked] = ()
) -> tuple[bytes, dict[str, Any]]:
    """The graph and the JSON state of an `OnnxTagger`, learned from `train`; `valid` chooses each member's epoch.

    `others` are texts of the same language: their phrases are features by their own labels, and what learns without
    labels (see `Recipe`) learns from them too. Raises what `load_encoder` raises for a backbone that cannot be had.
    """
    from common.text.columns import LONGEST, Columns
    from common.text.gazetteer import Gazetteer
    from common.text.reading import Reader
    from common.text.tagger import Tagging, form_vectors, new_tagger, train_tagger
    from common.text.tagger_export import export_tagger

    kind = units_of(train.texts)
    more = [text for other in others for text in other.texts]
    known = [
        Gazetteer(kind, own.labels, longest=LONGEST[kind]).fit(own.texts, own.marks) for own in others if own.labels
    ]
    columns = Columns(kind, train.labels, others=known, memory=recipe.memory).fit(train.texts, train.marks, more)
    texts = [*train.texts, *more]
    vectors = form_vectors(columns, texts, Tagging(**recipe.tagging)) if recipe.vectors else []
    members = []
    changes = [*[{}] * recipe.members, *recipe.further]
    for own_seed, change in enumerate(changes, seed):
        own = Recipe.model_validate(recipe.model_dump() | change)
        settings = Tagging(**own.tagging)
        encoder = _encoder(own, kind, texts, valid.texts, own_seed)
        tokens = encoder.tokens if encoder else None
        reader = Reader(columns, tokens=tokens, longest=recipe.longest, same=recipe.same)
        tagger = new_tagger(reader, settings, seed=own_seed, encoder=encoder, vectors=vectors)
        both = (valid.texts, valid.marks)
        train_tagger(tagger, reader, train.texts, train.marks, settings, seed=own_seed, valid=both)
        members.append(tagger)
    return export_tagger(members, reader, int8=recipe.int8)


def _encoder(recipe: Recipe, kind: Units, texts: Sequence[str], valid: Sequence[str], seed: int) -> Encoder | None:
    from common.text.encoder import load_encoder
    from common.text.masked import Masking, Small, new_encoder, pretrain_masked

    if recipe.backbone:
        encoder = load_encoder(recipe.backbone, longest=512, layers=recipe.layers)
    elif recipe.small is not None:
        encoder = new_encoder(texts, kind, Small(**recipe.small), seed=seed)
    else:
        return None
    if recipe.pretraining is not None:
        pretrain_masked(encoder, texts, Masking(**{"kind": kind, **recipe.pretraining}), seed=seed, valid=valid)
    return encoder


def units_of(texts: Sequence[str]) -> Units:
    """What gets a tag: characters where more than a tenth of the texts' characters are Chinese, else words."""
    sample = "".join(texts)[:20_000]
    chinese = sum("一" <= character <= "鿿" for character in sample)
    return "characters" if chinese > len(sample) / 10 else "words"
