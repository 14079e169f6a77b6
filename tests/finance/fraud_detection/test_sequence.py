from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from streams import at_rest, drawn

from common.errors import UsageError
from finance.fraud_detection.config import SequenceSettings
from finance.fraud_detection.definition import Definition
from finance.fraud_detection.ensemble import Inputs
from finance.fraud_detection.history import history
from finance.fraud_detection.model import fit_network
from finance.fraud_detection.network import Network
from finance.fraud_detection.sequence import SequenceModel, export_onnx, fit_sequence, typical
from finance.fraud_detection.steps import CHANNELS, sequences

DEFINITION = Definition(steps=6)
QUICK = SequenceSettings(steps=6, epochs=8, batch=64)


@pytest.fixture(scope="module")
def examples():
    """Fraud where the transaction before was unusual, or where one feature is high: neither alone tells all."""
    rng = np.random.default_rng(5)
    table = at_rest(drawn(5, 3_000, days=200, values=9).table)
    steps = sequences(DEFINITION, history(DEFINITION, table), table.time, table.amount)
    features = np.exp(rng.normal(size=(3_000, 5))).astype(np.float32)
    features[:, 3] = 1.0  # constant
    features[:, 4] = np.nan
    y = (steps[:, -2, CHANNELS.index("unusual")] > 0.5) | (features[:, 0] > 4)
    features[rng.random((3_000, 5)) < 0.1] = np.nan
    return Inputs(features, steps), y.astype(np.int8)


@pytest.fixture(scope="module")
def model(examples) -> SequenceModel:
    inputs, y = examples
    return fit_sequence(*inputs.part(slice(2_000)), y[:2_000], QUICK, 0)


@pytest.fixture(scope="module")
def network(model) -> Network:
    return Network(export_onnx(model, QUICK.steps), typical(model))


def test_it_learns_from_the_steps_and_from_the_features(examples, network):
    inputs, y = examples
    (x, steps), y = inputs.part(slice(2_000, None)), y[2_000:]
    found = network.predict(x, steps)
    by_steps = ~(x[:, 0] > 4)
    by_features = steps[:, -2, CHANNELS.index("unusual")] <= 0.5
    assert roc_auc_score(y, found) > 0.9
    assert roc_auc_score(y[by_steps], found[by_steps]) > 0.85
    assert roc_auc_score(y[by_features], found[by_features]) > 0.85


def test_one_seed_gives_one_model_and_another_seed_another(examples, model):
    inputs, y = examples
    again = fit_sequence(*inputs.part(slice(2_000)), y[:2_000], QUICK, 0).state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(again[name], value)
    other = fit_sequence(*inputs.part(slice(500)), y[:500], QUICK, 1).state_dict()
    assert not torch.equal(other["head.0.weight"], again["head.0.weight"])


def test_onnx_runtime_gives_what_torch_gives(examples, model, network):
    inputs, _ = examples
    with torch.inference_mode():
        expected = model(torch.from_numpy(inputs.steps), torch.from_numpy(inputs.x)).numpy()
    np.testing.assert_allclose(network.predict(*inputs), expected, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 7, 16, 100, 1_500])
def test_a_row_alone_is_answered_as_in_any_batch(examples, network, rows):
    some = examples[0].part(slice(1_500))
    together = network.predict(*some)
    parts = [network.predict(*some.part(slice(start, start + rows))) for start in range(0, 1_500, rows)]
    np.testing.assert_array_equal(np.concatenate(parts), together)


def test_what_a_feature_adds_is_what_is_lost_when_it_is_as_usual(examples, network):
    some = examples[0].part(slice(40))
    adds = network.contributions(*some)
    assert adds.shape == (40, 6)
    changed = some.x.copy()
    changed[:, 0] = network.typical[0]
    np.testing.assert_allclose(adds[:, 0], network.predict(*some) - network.predict(changed, some.steps), atol=1e-5)
    assert not adds[~np.isnan(some.x[:, 3]), 3].any()  # it was constant
    alone = np.zeros_like(some.steps)
    alone[:, -1] = some.steps[:, -1]
    np.testing.assert_allclose(adds[:, -1], network.predict(*some) - network.predict(some.x, alone), atol=1e-5)
    high = np.flatnonzero(some.x[:, 0] > 4)
    assert (adds[high].argmax(axis=1) == 0).all()


def test_extreme_and_missing_values_give_numbers(network):
    steps = np.zeros((4, 7, len(CHANNELS)), np.float32)
    features = np.array([[np.nan] * 5, [3e38] * 5, [-3e38] * 5, [0] * 5], np.float32)
    assert np.isfinite(network.predict(features, steps)).all()


def test_a_feature_that_training_never_saw_changes_nothing(examples, network):
    some = examples[0].part(slice(50))
    changed = some.x.copy()
    changed[:, 3] = np.where(np.isnan(some.x[:, 3]), np.nan, 50.0)
    np.testing.assert_array_equal(network.predict(changed, some.steps), network.predict(*some))


def test_what_cannot_be_learned_from_is_refused(examples):
    (x, steps), y = examples
    with pytest.raises(UsageError, match="do not go together"):
        fit_sequence(x[:-1], steps, y, QUICK, 0)
    with pytest.raises(UsageError, match="frauds and others"):
        fit_sequence(x, steps, np.zeros_like(y), QUICK, 0)


def test_without_torch_the_message_says_what_to_do(examples, monkeypatch):
    monkeypatch.delitem(sys.modules, "finance.fraud_detection.sequence", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delattr("finance.fraud_detection.sequence", raising=False)
    with pytest.raises(UsageError, match=r"no package torch.*espalier\[deep\]"):
        fit_network(*examples, QUICK, 0)
