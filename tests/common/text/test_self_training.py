from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", exc_type=ImportError)
pytest.importorskip("transformers", exc_type=ImportError)

from common.errors import UsageError
from common.text.encoder import load_encoder
from common.text.self_training import joined, self_train
from common.text.tune import Tuning, probabilities
from common.training.loop import Optimisation

TEXTS = ["where is my card", "my card is lost", "i want to pay money", "pay the money"]
LABELS = np.array([0, 0, 1, 1])
UNLABELLED = ["pay money", "is my card lost", "i want to pay the money", "where is the card"]
QUICK = Tuning(optimisation=Optimisation(epochs=10, batch=4, learning_rate=1e-2, backbone_rate=0.5))


def test_texts_without_a_label_get_the_class_of_their_like(tiny):
    model, found = self_train(str(tiny), TEXTS, LABELS, UNLABELLED, seed=0, tuning=QUICK)
    assert probabilities(model, TEXTS).argmax(1).tolist() == LABELS.tolist()
    assert found.shape == (4, 2)
    assert found.sum(1) == pytest.approx(1)
    assert found.argmax(1).tolist() == [1, 0, 1, 0]


def test_the_tuned_layers_count_beside_the_frozen_ones(tiny):
    def found(epochs):
        quick = QUICK.model_copy(update={"optimisation": QUICK.optimisation.model_copy(update={"epochs": epochs})})
        return self_train(str(tiny), TEXTS, LABELS, UNLABELLED, seed=0, tuning=quick)[1]

    assert np.abs(found(10) - found(1)).max() > 1e-3


def test_layers_are_joined_without_the_embeddings_to_length_one(tiny):
    layers = load_encoder(str(tiny)).vectors(TEXTS, layers=True)
    found = joined(layers)
    assert found.shape == (4, 64)
    assert found.dtype == np.float32
    assert np.linalg.norm(found, axis=1) == pytest.approx(1)
    assert joined(np.concatenate([layers[:, :1] + 1, layers[:, 1:]], axis=1)) == pytest.approx(found)


def test_a_class_without_a_text_is_refused(tiny):
    with pytest.raises(UsageError, match="a class has no labelled text: got none of class 1"):
        self_train(str(tiny), TEXTS, LABELS * 2, UNLABELLED, seed=0, tuning=QUICK)
