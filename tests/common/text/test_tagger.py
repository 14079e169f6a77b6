from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch", exc_type=ImportError)
pytest.importorskip("transformers", exc_type=ImportError)

import torch

from common.errors import UsageError
from common.text.columns import Columns
from common.text.encoder import load_encoder
from common.text.onnx_tagger import OnnxTagger
from common.text.reading import Reader, stacked
from common.text.tagger import Tagging, _Locked, form_vectors, new_tagger, predict, train_tagger
from common.text.tagger_export import export_tagger
from common.text.tags import Mark, agreement, span_scores
from common.training.loop import Optimisation

SMALL = Tagging(
    unit=16,
    form=8,
    filters=8,
    hidden=16,
    dropout=0.1,
    optimisation=Optimisation(epochs=12, batch=8, learning_rate=2e-2, largest_gradient=1.0),
)
DRUGS = ["aspirin", "ibuprofen", "metformin", "insulin", "heparin", "codeine"]


def said(count, seed):
    """Sentences with drugs behind "took", and the same words as names behind "met"; some drugs were never seen."""
    draw = np.random.default_rng(seed)
    texts, marks = [], []
    for _ in range(count):
        first, second = draw.choice(DRUGS, 2)
        text = f"She took {first} forte today. He met {second} again"
        texts.append(text)
        marks.append([Mark(9, 15 + len(first), "drug"), Mark(30 + len(first), 30 + len(first) + len(second), "name")])
    return texts, marks


@pytest.fixture(scope="module", params=["columns", "full", "lora"])
def trained(request, tiny):
    texts, marks = said(48, 1)
    encoder = load_encoder(str(tiny)) if request.param != "columns" else None
    settings = SMALL if encoder is None else SMALL.model_copy(update={"mode": request.param, "rank": 2})
    before = encoder and [value.clone() for value in encoder.net.parameters()]
    reader = Reader(Columns("words", ("drug", "name")).fit(texts, marks), tokens=encoder and encoder.tokens, longest=7)
    tagger = new_tagger(reader, settings, seed=1, encoder=encoder)
    history = train_tagger(tagger, reader, texts, marks, settings, seed=1, valid=said(12, 2))
    if encoder:
        changed = [not torch.equal(old, new) for old, new in zip(before, tagger.net.parameters(), strict=True)]
        assert any(changed)
        assert all(changed) or request.param == "lora"
    return tagger, reader, history


def test_marks_are_learned_with_their_context(trained):
    tagger, reader, history = trained
    texts, marks = said(20, 3)
    assert span_scores(agreement(marks, predict(tagger, reader, texts)))["f1"] > 0.9
    assert history.losses[-1] < history.losses[0] / 2
    assert not any(parameter.requires_grad for parameter in tagger.parameters())


def test_a_batch_gives_what_its_texts_give_alone(trained):
    tagger, reader, _ = trained
    texts = [*said(3, 4)[0], "", "took", "a b c d e f g h i j k l m n o p q"]
    assert predict(tagger, reader, texts) == [predict(tagger, reader, [text])[0] for text in texts]
    rows = [window.rows for text in texts for window in reader.windows(text)]
    with torch.no_grad():
        together, _ = tagger(torch.from_numpy(stacked(rows)))
        for row, found in zip(rows, together, strict=True):
            alone = tagger.emit(torch.from_numpy(row[None]))[0]
            assert found[: len(row)].numpy() == pytest.approx(alone.numpy(), abs=1e-4)


@pytest.mark.parametrize("int8", [False, True])
def test_the_graph_finds_the_same_without_torch(trained, int8):
    tagger, reader, _ = trained
    graph, state = export_tagger([tagger, tagger], reader, int8=int8)
    served = OnnxTagger(graph, json.loads(json.dumps(state)))
    texts = [*said(8, 5)[0], "", "metformin"]
    expected = predict(tagger, reader, texts)
    if int8:
        assert span_scores(agreement(expected, served.marks(texts)))["f1"] > 0.8
        return
    assert served.marks(texts) == expected
    rows = stacked([window.rows for window in reader.windows(texts[0])])
    with torch.no_grad():
        assert served._emit(rows) == pytest.approx(tagger.emit(torch.from_numpy(rows)).numpy(), abs=1e-4)


def test_a_window_that_is_too_long_for_the_encoder_is_cut(tiny, monkeypatch):
    encoder = load_encoder(str(tiny))
    texts, marks = said(4, 1)
    reader = Reader(Columns("words", ("drug", "name")).fit(texts, marks), tokens=encoder.tokens)
    assert len(reader.windows(texts[0])) == 1
    monkeypatch.setattr("common.text.reading.PIECES", 4)
    cut = reader.windows(texts[0])
    assert max(len(window.rows) for window in cut) <= 4
    whole = Reader(reader.columns).windows(texts[0])
    assert [span for window in cut for span in window.spans] == whole[0].spans


def test_the_embeddings_of_an_encoder_alone_are_tagged_and_served(tiny):
    texts, marks = said(4, 1)
    encoder = load_encoder(str(tiny), layers=0)
    reader = Reader(Columns("words", ("drug", "name")).fit(texts, marks), tokens=encoder.tokens)
    tagger = new_tagger(reader, SMALL, seed=1, encoder=encoder)
    assert OnnxTagger(*export_tagger([tagger], reader)).marks(texts) == predict(tagger, reader, texts)


def test_embeddings_begin_as_vectors_of_the_surroundings():
    texts, marks = said(12, 1)
    reader = Reader(Columns("words", ("drug", "name"), rarest=1).fit(texts, marks))
    vectors = form_vectors(reader.columns, texts, SMALL)
    tables = new_tagger(reader, SMALL, seed=1, vectors=vectors).tables
    assert [tuple(own.shape) for own in vectors] == [tuple(own.weight.shape) for own in tables[:4]]
    table = tables[0].weight.detach().numpy()
    names = reader.columns.vocabularies[0]
    she, he, met = (table[names[word]] for word in ("she", "he", "met"))
    assert not table[0].any()
    assert she @ met < 0.9 * np.linalg.norm(she) * np.linalg.norm(met)
    assert not np.allclose(table, new_tagger(reader, SMALL, seed=1).tables[0].weight.detach().numpy())
    assert np.linalg.norm(he) > 0


def test_dropout_is_the_same_at_every_row():
    torch.manual_seed(0)
    locked = _Locked(0.5)
    dropped = locked(torch.ones(4, 9, 32))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(dropped, dropped[:, :1].expand(-1, 9, -1))
    assert not torch.equal(dropped[0], dropped[1])
    assert torch.equal(locked.eval()(dropped), dropped)


def test_texts_without_marks_of_their_own_are_refused():
    texts, marks = said(4, 1)
    reader = Reader(Columns("words", ("drug", "name")).fit(texts, marks))
    tagger = new_tagger(reader, SMALL, seed=1)
    with pytest.raises(UsageError, match="texts and marks do not fit: got 4 and 3"):
        train_tagger(tagger, reader, texts, marks[:3], SMALL, seed=1)
