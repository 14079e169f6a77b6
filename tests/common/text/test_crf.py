from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

pytest.importorskip("torch", exc_type=ImportError)

import torch

from common.text.crf import Crf, log_likelihood, viterbi_batch
from common.text.tags import Tags
from common.text.viterbi import viterbi

TAGS = Tags(("drug",))


@pytest.fixture
def scores():
    """Emissions (2, 4, 5) and transitions with rules, drawn at random."""
    draw = torch.Generator().manual_seed(5)
    crf = Crf(TAGS.allowed)
    with torch.no_grad():
        crf.weights.copy_(torch.randn(crf.weights.shape, generator=draw))
    return torch.randn(2, 4, 5, generator=draw) * 3, crf().detach()


def score(emissions, transitions, path):
    total = transitions[-1, path[0]] + transitions[path[-1], -1]
    total = total + sum(emissions[at, tag] for at, tag in enumerate(path))
    return total + sum(transitions[before, after] for before, after in pairwise(path))


def test_the_likelihood_is_that_of_all_paths_counted(scores):
    emissions, transitions = scores
    every = list(product(range(5), repeat=4))
    path = (0, 1, 2, 3)
    total = torch.stack([score(emissions[0], transitions, one) for one in every]).double().logsumexp(0)
    found = log_likelihood(emissions[:1], transitions, torch.tensor([path]))
    assert float(found) == pytest.approx(float(score(emissions[0], transitions, path) - total), abs=1e-4)
    legal = [one for one in every if score(emissions[0], transitions, one) > -5000]
    chances = [float(log_likelihood(emissions[:1], transitions, torch.tensor([one])).exp()) for one in legal]
    assert sum(chances) == pytest.approx(1, abs=1e-6)


def test_units_without_a_tag_are_as_if_they_were_not_there(scores):
    emissions, transitions = scores
    whole = log_likelihood(emissions[:, [0, 2]], transitions, torch.tensor([[0, 4], [1, 3]]))
    gaps = log_likelihood(emissions, transitions, torch.tensor([[0, -1, 4, -1], [1, -1, 3, -1]]))
    assert gaps.tolist() == pytest.approx(whole.tolist())
    assert log_likelihood(emissions, transitions, torch.full((2, 4), -1)).tolist() == [0, 0]


def test_the_gradient_is_that_of_differences(scores):
    emissions, transitions = scores
    tags = torch.tensor([[0, 1, 3, 0], [4, 0, -1, -1]])
    inputs = (emissions.double().requires_grad_(True), transitions.double().requires_grad_(True))
    assert torch.autograd.gradcheck(lambda *both: log_likelihood(*both, tags), inputs)


def test_the_best_path_is_the_best_of_all(scores):
    emissions, transitions = scores
    for row in emissions:
        best = max(product(range(5), repeat=4), key=lambda path: score(row, transitions, path))
        assert viterbi(row.numpy(), transitions.numpy()).tolist() == list(best)
    mask = torch.tensor([[True] * 4, [True, False, True, False]])
    first, second = viterbi_batch(emissions, transitions, mask)
    assert first.tolist() == viterbi(emissions[0].numpy(), transitions.numpy()).tolist()
    assert second.tolist() == viterbi(emissions[1, [0, 2]].numpy(), transitions.numpy()).tolist()


def test_what_is_not_allowed_is_never_chosen():
    transitions = Crf(TAGS.allowed)().detach().numpy()
    emissions = np.array([[0, 0, 9, 9, 0], [0, 9, 0, 0, 0]], np.float32)  # inside or end at first, begin at last
    assert viterbi(emissions, transitions).tolist() in ([0, 0], [0, 4], [4, 0], [4, 4])
    assert viterbi(emissions[:0], transitions).tolist() == []
