"""Entities of a note: token models trained on published texts, and what a model's labels mean here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import Field

from common.config import Strict
from healthcare.medical_records.spans import Entity, Kind

if TYPE_CHECKING:
    from common.text.tags import Mark
    from healthcare.medical_records.ner_data import Marked

KINDS: dict[str, Kind] = {
    "disease": "disease",
    "疾病和诊断": "disease",
    "drug": "drug",
    "药物": "drug",
    "symptom": "symptom",
    "症状": "symptom",
    "body": "anatomy",
    "解剖部位": "anatomy",
    "test": "test",
    "影像检查": "test",
    "实验室检验": "test",
    "treatment": "procedure",
    "手术": "procedure",
}
"""What the labels of the corpora are called here; others (who, when, which department) are no entities."""


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
    pretraining: dict[str, Any] | None = Field(
        None, description="of `common.text.masked.Masking`: the backbone is pre-trained on the texts first"
    )
    members: int = Field(1, ge=1, description="models that differ in their seed, whose scores are averaged")
    longest: int = Field(128, ge=8, description="units of a window")
    int8: bool = Field(False, description="weights of the exported graph as whole numbers of 8 bits")


_SCHEDULE = {"batch": 32, "learning_rate": 4e-3, "largest_gradient": 1.0}
RECIPES = {
    "cehrner": Recipe(tagging={"dropout": 0.5, "forget": 0.1, "optimisation": {"epochs": 16, **_SCHEDULE}}, members=3),
    "cmedqaner": Recipe(
        tagging={"dropout": 0.5, "forget": 0.2, "optimisation": {"epochs": 12, **_SCHEDULE}}, members=3
    ),
    "served": Recipe(tagging={"dropout": 0.5, "forget": 0.2, "optimisation": {"epochs": 16, **_SCHEDULE}}),
    "ncbi-disease": Recipe(
        backbone="sentence-transformers/all-MiniLM-L6-v2",
        tagging={"optimisation": {"epochs": 8, "batch": 16, "learning_rate": 2e-3, "largest_gradient": 1.0}},
    ),
}
"""Of the published corpora. One member of the Chinese ones was measured on the development part, the rest was not."""


def train_ner(train: Marked, valid: Marked, recipe: Recipe, *, seed: int) -> tuple[bytes, dict[str, Any]]:
    """The graph and the JSON state of an `OnnxTagger`, learned from `train`; `valid` chooses each member's epoch.

    Raises what `load_encoder` raises for a backbone that cannot be had.
    """
    from common.text.columns import Columns
    from common.text.encoder import load_encoder
    from common.text.masked import Masking, pretrain_masked
    from common.text.reading import Reader
    from common.text.tagger import Tagging, new_tagger, train_tagger
    from common.text.tagger_export import export_tagger

    kind = units_of(train.texts)
    columns = Columns(kind, train.labels).fit(train.texts, train.marks)
    settings = Tagging(**recipe.tagging)
    members = []
    for member in range(recipe.members):
        encoder = load_encoder(recipe.backbone, longest=512) if recipe.backbone else None
        if encoder and recipe.pretraining is not None:
            masking = Masking(**{"kind": kind, **recipe.pretraining})
            pretrain_masked(encoder, train.texts, masking, seed=seed, valid=valid.texts)
        reader = Reader(columns, tokens=encoder.tokens if encoder else None, longest=recipe.longest)
        tagger = new_tagger(reader, settings, seed=seed + member, encoder=encoder)
        both = (valid.texts, valid.marks)
        train_tagger(tagger, reader, train.texts, train.marks, settings, seed=seed + member, valid=both)
        members.append(tagger)
    return export_tagger(members, reader, int8=recipe.int8)


def units_of(texts: Sequence[str]) -> Literal["words", "characters"]:
    """What gets a tag: characters where more than a tenth of the texts' characters are Chinese, else words."""
    sample = "".join(texts)[:20_000]
    chinese = sum("一" <= character <= "鿿" for character in sample)
    return "characters" if chinese > len(sample) / 10 else "words"
