from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", exc_type=ImportError)
pytest.importorskip("transformers", exc_type=ImportError)

import torch

from common.errors import UsageError
from common.text.encoder import load_encoder
from common.text.tune import Tuning, class_means, contrast, probabilities, tune
from common.training.loop import Optimisation

TEXTS = ["where is my card", "my card is lost", "the new card", "i want to pay", "pay the money", "transfer of money"]
LABELS = np.array([0, 0, 0, 1, 1, 1])


def settings(**changes):
    optimisation = Optimisation(epochs=15, batch=6, learning_rate=1e-2, backbone_rate=0.5)
    return Tuning(**{"optimisation": optimisation, "rank": 4} | changes)


def weights(encoder):
    return {name: value.clone() for name, value in encoder.state_dict().items()}


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_tuning_changes_the_encoder_so_that_it_tells_the_classes_apart(tiny, mode):
    encoder = load_encoder(str(tiny))
    before = weights(encoder)
    model, history = tune(encoder, TEXTS, LABELS, settings(mode=mode), seed=0)
    assert history.losses[-1] < history.losses[0]
    assert (probabilities(model, TEXTS).argmax(1) == LABELS).all()
    after = encoder.state_dict()
    assert after.keys() == before.keys()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert any("attention.self.query.weight" in name for name in changed)
    assert ("net.embeddings.word_embeddings.weight" in changed) == (mode == "full")
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_top_layers_alone_are_tuned_when_asked(tiny):
    encoder = load_encoder(str(tiny))
    before = weights(encoder)
    tune(encoder, TEXTS, LABELS, settings(top=1), seed=0)
    changed = {name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all("layer.1." in name for name in changed)


def test_more_layers_than_there_are_is_refused(tiny):
    with pytest.raises(UsageError, match="cannot tune the last layers: got 3, expected at most 2"):
        tune(load_encoder(str(tiny)), TEXTS, LABELS, settings(top=3), seed=0)


def test_the_same_seed_gives_the_same_model_and_another_does_not(tiny):
    def found(seed):
        return probabilities(tune(load_encoder(str(tiny)), TEXTS, LABELS, settings(mode="lora"), seed=seed)[0], TEXTS)

    assert np.array_equal(found(1), found(1))
    assert not np.allclose(found(1), found(2), atol=1e-4)


def test_the_weights_of_the_best_epoch_on_validation_are_kept(tiny):
    wrong = 1 - LABELS
    model, history = tune(load_encoder(str(tiny)), TEXTS, LABELS, settings(), seed=0, valid=(TEXTS, wrong))
    assert history.metrics[history.kept] == max(history.metrics)
    assert history.kept < len(history.metrics) - 1
    assert (probabilities(model, TEXTS).argmax(1) == wrong).mean() == history.metrics[history.kept]


def test_probabilities_add_up_to_one_for_every_class_that_validation_has(tiny):
    valid = (TEXTS[:1], np.array([2]))
    model, _ = tune(load_encoder(str(tiny)), TEXTS, LABELS, settings(), seed=0, valid=valid)
    found = probabilities(model, TEXTS)
    assert found.shape == (6, 3)
    assert found.sum(1) == pytest.approx(1, abs=1e-5)


def test_contrast_is_the_published_formula():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(5, 4, generator=generator), dim=1)
    labels = torch.tensor([0, 0, 1, 0, 2])
    expected = []
    for i in (0, 1, 3):
        others = [j for j in range(5) if j != i]
        total = sum(torch.exp(vectors[i] @ vectors[j] / 0.5) for j in others)
        same = [j for j in others if labels[j] == labels[i]]
        expected.append(-sum(torch.log(torch.exp(vectors[i] @ vectors[j] / 0.5) / total) for j in same) / len(same))
    assert float(contrast(vectors, labels, 0.5)) == pytest.approx(float(sum(expected) / 3), rel=1e-5)


def test_contrast_without_partners_is_nothing():
    vectors = torch.eye(3, requires_grad=True)
    value = contrast(vectors, torch.arange(3), 0.1)
    value.backward()
    assert float(value.detach()) == 0
    assert torch.equal(vectors.grad, torch.zeros(3, 3))


def test_contrast_draws_a_class_together(tiny):
    def spread(weight):
        encoder = load_encoder(str(tiny))
        tune(encoder, TEXTS, LABELS, settings(contrast=weight), seed=0)
        vectors = encoder.vectors(TEXTS)
        return (vectors[:3] @ vectors[:3].T).mean() + (vectors[3:] @ vectors[3:].T).mean()

    assert spread(2.0) > spread(0.0)


def test_class_means_have_length_one_or_are_nothing():
    means = class_means(np.array([[1, 0], [0, 1], [0, 2]], np.float32), np.array([0, 0, 2]), 3)
    assert means == pytest.approx(np.array([[0.5**0.5, 0.5**0.5], [0, 0], [0, 1]]))


def test_texts_and_labels_that_do_not_fit_are_refused(tiny):
    encoder = load_encoder(str(tiny))
    with pytest.raises(UsageError, match="texts and labels do not fit: got 6 and 2"):
        tune(encoder, TEXTS, LABELS[:2], settings(), seed=0)
    with pytest.raises(UsageError, match="got 0 and 0"):
        tune(encoder, [], LABELS[:0], settings(), seed=0)


def test_mixtures_of_two_classes_are_taught_as_the_last_class(tiny):
    def outside(weight):
        encoder = load_encoder(str(tiny))
        labels = np.append(LABELS, 2)
        model, _ = tune(encoder, [*TEXTS, "what balance"], labels, settings(outliers=weight), seed=0)
        vectors = encoder.vectors(TEXTS)
        mixed = torch.nn.functional.normalize(torch.from_numpy(vectors[:3] + vectors[3:]), dim=1)
        return torch.softmax(model.logits(mixed), dim=1)[:, 2].mean()

    assert outside(1.0) > outside(0.0) + 0.1
