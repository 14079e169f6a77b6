from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", exc_type=ImportError)

from common.training.loop import Optimisation, fit  # noqa: E402

SETTINGS = Optimisation(epochs=20, batch=16, learning_rate=0.05)


def examples():
    x = torch.randn(128, 3, generator=torch.Generator().manual_seed(0))
    return x, x @ torch.tensor([[1.0], [-2.0], [0.5]])


def trained(seed=0):
    torch.manual_seed(1)
    model = torch.nn.Linear(3, 1)
    x, y = examples()
    return model, fit(model, x.half(), y, torch.nn.functional.mse_loss, SETTINGS, seed=seed)


def test_it_learns_a_linear_map_from_half_precision_and_ends_in_evaluation():
    model, loss = trained()
    assert loss < 0.05
    assert not model.training
    assert model.weight[0].tolist() == pytest.approx([1, -2, 0.5], abs=0.1)


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    first, second, other = (trained(seed)[0].weight for seed in (0, 0, 3))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
