from __future__ import annotations

import pytest

pytest.importorskip("torch", exc_type=ImportError)
pytest.importorskip("accelerate", exc_type=ImportError)

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from common.errors import UsageError
from common.training.loop import Optimisation, fit_dataset

SETTINGS = Optimisation(epochs=4, batch=8, learning_rate=1e-2)


def model():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.2), nn.Linear(8, 2))


def examples():
    draw = torch.Generator().manual_seed(1)
    inputs = torch.randn(40, 3, generator=draw)
    return TensorDataset(inputs, (inputs.sum(1) > 0).long())


def run(net, checkpoint=None, validate=None, seed=5, name=None):
    return fit_dataset(
        net,
        examples(),
        functional.cross_entropy,
        SETTINGS,
        seed=seed,
        validate=validate,
        checkpoint=checkpoint,
        run=name,
    )


def stops_behind(epochs):
    """A metric, best after the first epoch, that ends the run like a power cut."""
    seen = []

    def validate(_):
        seen.append(0)
        if len(seen) > epochs:
            raise KeyboardInterrupt
        return 1.0 / len(seen)

    return validate


def test_a_run_goes_on_as_if_it_had_never_stopped(tmp_path):
    whole, broken, resumed = model(), model(), model()
    file = tmp_path / "run.safetensors"
    expected = run(whole, validate=stops_behind(9))
    with pytest.raises(KeyboardInterrupt):
        run(broken, file, stops_behind(2))
    # The metric of epoch 3 is the first that the resumed run measures; the best stays that of epoch 1.
    found = run(resumed, file, lambda _: 0.1)
    assert found.losses == pytest.approx(expected.losses, rel=1e-6)
    assert found.kept == expected.kept == 0
    assert found.metrics[:2] == expected.metrics[:2]
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.allclose(one, other)


def test_a_finished_run_is_read_not_repeated(tmp_path):
    first, second = model(), model()
    file = tmp_path / "run.safetensors"
    history = run(first, file)
    written = file.stat().st_mtime_ns
    assert run(second, file).losses == history.losses
    assert file.stat().st_mtime_ns == written
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_another_run_or_a_broken_file_is_refused(tmp_path):
    file = tmp_path / "run.safetensors"
    run(model(), file, name="notes")
    for different in ({"seed": 6, "name": "notes"}, {"name": "letters"}):
        with pytest.raises(UsageError, match=r"a checkpoint of another run: .*; delete it"):
            run(model(), file, **different)
    file.write_bytes(b"half of i")
    with pytest.raises(UsageError, match="not a checkpoint that can be read"):
        run(model(), file, name="notes")
