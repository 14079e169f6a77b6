from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", exc_type=ImportError)

from torch import nn  # noqa: E402
from torch.nn.functional import cross_entropy, mse_loss  # noqa: E402

from common.errors import UsageError  # noqa: E402
from common.training.loop import Optimisation, fit, fit_dataset  # noqa: E402

SETTINGS = Optimisation(epochs=20, batch=16, learning_rate=0.05)
TRUE = [1.0, -2.0, 0.5]


def examples():
    x = torch.randn(128, 3, generator=torch.Generator().manual_seed(0))
    return x, x @ torch.tensor(TRUE)[:, None]


def pairs():
    return torch.utils.data.TensorDataset(*examples())


def linear():
    torch.manual_seed(1)
    return nn.Linear(3, 1)


def trained(seed=0):
    model = linear()
    x, y = examples()
    return model, fit(model, x.half(), y, mse_loss, SETTINGS, seed=seed)


class Stripes(torch.utils.data.Dataset):
    """Pictures uint8, upright or lying stripes, shifted anew every time they are read."""

    def __init__(self):
        row = (torch.arange(8) % 4 < 2) * 255
        self.pictures = [row.expand(8, 8).to(torch.uint8), row.expand(8, 8).T.to(torch.uint8)]

    def __len__(self):
        return 64

    def __getitem__(self, index):
        shift = tuple(torch.randint(0, 4, (2,)).tolist())
        return self.pictures[index % 2].roll(shift, (0, 1))[None].float() / 127.5 - 1, index % 2


class Net(nn.Module):
    """A backbone with batch norm, and a head."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.backbone = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(8, 2)

    def forward(self, pictures):
        return self.head(self.backbone(pictures).amax((2, 3)))


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def moved(before, module):
    """The names of what changed."""
    return {name for name, value in module.state_dict().items() if not torch.equal(before[name], value)}


def test_it_learns_a_linear_map_from_half_precision_and_ends_in_evaluation():
    model, loss = trained()
    assert loss < 0.05
    assert not model.training
    assert model.weight[0].tolist() == pytest.approx(TRUE, abs=0.1)


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    first, second, other = (trained(seed)[0].weight for seed in (0, 0, 3))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("workers", [0, 1])
def test_pictures_augmented_on_the_fly_are_learned_and_drawn_by_the_seed(workers):
    settings = Optimisation(epochs=6, batch=16, learning_rate=0.05, workers=workers)
    nets = [Net() for _ in range(2)]
    for net in nets:
        history = fit_dataset(net, Stripes(), cross_entropy, settings, seed=0)
    assert history.losses[-1] < 0.2 < history.losses[0]
    assert moved(state(nets[0]), nets[1]) == set()


def test_a_stream_is_read_in_its_order():
    class Stream(torch.utils.data.IterableDataset):
        def __len__(self):
            return 128

        def __iter__(self):
            return iter(pairs())

    model, again = linear(), linear()
    assert fit_dataset(model, Stream(), mse_loss, SETTINGS, seed=0).losses[-1] < 0.05
    fit_dataset(again, Stream(), mse_loss, SETTINGS, seed=3)
    assert torch.equal(model.weight, again.weight)  # nothing was shuffled


def test_a_frozen_backbone_keeps_its_weights_and_its_batch_statistics():
    net = Net()
    net.backbone.requires_grad_(False)
    before = state(net)
    fit_dataset(net, Stripes(), cross_entropy, Optimisation(epochs=2), seed=0)
    assert moved(before, net) == {"head.weight", "head.bias"}


def test_a_thawed_backbone_learns_more_slowly_by_its_share():
    def step(share):
        net = Net()
        before = state(net)
        settings = Optimisation(epochs=1, batch=64, learning_rate=1, weight_decay=0, backbone_rate=share)
        fit_dataset(net, Stripes(), cross_entropy, settings, seed=0, backbone=net.backbone)
        return [(net.state_dict()[name] - before[name]).abs().max() for name in ("backbone.0.weight", "head.weight")]

    (whole, head), (tenth, same) = step(1.0), step(0.1)
    assert float(tenth / whole) == pytest.approx(0.1, rel=0.01)
    assert torch.equal(head, same)


def test_the_best_epoch_is_kept_and_training_stops_without_a_better_one():
    model, seen = linear(), []

    def validate(model):
        assert not model.training
        seen.append(model.weight.detach().clone())
        return [0.1, 0.7, 0.7, 0.2, 0.9][len(seen) - 1]

    settings = SETTINGS.model_copy(update={"patience": 2})
    history = fit_dataset(model, pairs(), mse_loss, settings, seed=0, validate=validate)
    assert history.metrics == [0.1, 0.7, 0.7, 0.2]
    assert (history.kept, len(history.losses)) == (1, 4)
    assert torch.equal(model.weight, seen[1])


def test_gradients_are_cut_at_the_norm():
    model = linear()
    fit_dataset(model, pairs(), mse_loss, Optimisation(epochs=1, largest_gradient=0.01), seed=0)
    norm = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).norm()
    assert float(norm) == pytest.approx(0.01, rel=1e-3)


def test_a_loss_that_is_no_number_is_one_sentence():
    with pytest.raises(UsageError, match=r"epoch 1: the loss is no longer a number: got nan; lower learning_rate"):
        fit_dataset(linear(), pairs(), lambda x, y: mse_loss(x, y) / 0 * 0, SETTINGS, seed=0)


def test_fewer_examples_than_a_batch_are_one_batch_and_none_is_an_error():
    x, y = examples()
    assert fit(linear(), x[:5], y[:5], mse_loss, SETTINGS, seed=0) > 0
    with pytest.raises(UsageError, match="too few examples"):
        fit(linear(), x[:0], y[:0], mse_loss, SETTINGS, seed=0)


SCRIPT = """
import atexit, json, os, torch
from pathlib import Path
own = Path(os.environ["RANK"])  # two processes that print may do so in one line
atexit.register(lambda: own.with_suffix(".left").write_text(str(torch.distributed.is_initialized())))  # runs last
from common.training.loop import Optimisation, fit
torch.manual_seed(1)
model = torch.nn.Linear(3, 1)
x = torch.randn(128, 3, generator=torch.Generator().manual_seed(0))
y = x @ torch.tensor([[1.0], [-2.0], [0.5]])
loss = fit(model, x, y, torch.nn.functional.mse_loss, Optimisation(epochs=20, batch=16, learning_rate=0.05), seed=0)
own.with_suffix(".json").write_text(json.dumps([torch.distributed.get_world_size(), loss, *model.weight[0].tolist()]))
"""


def test_two_processes_by_torchrun_give_the_model_of_one(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "script.py"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    first, second = ((tmp_path / f"{rank}.json").read_text() for rank in range(2))
    assert first == second
    assert [(tmp_path / f"{rank}.left").read_text() for rank in range(2)] == ["False", "False"]
    model, loss = trained()
    assert json.loads(first) == pytest.approx([2, loss, *model.weight[0].tolist()], abs=1e-3)
