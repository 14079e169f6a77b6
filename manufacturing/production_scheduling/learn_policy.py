"""Learning the dispatching policy by REINFORCE (Williams, 1992) in the compiled simulator.

The baseline of a run is the mean makespan of all runs of the same shop under the current policy (Kwon et al., 2020,
arXiv:2010.16011), in standard deviations. Shops are random, by Taillard's recipe and another generator than his, so
that none of them is a published one. The policy starts as the rule "most work remaining".
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from common.progress import bar
from manufacturing.production_scheduling.config import Learning
from manufacturing.production_scheduling.episodes import random_shop, recorded, run
from manufacturing.production_scheduling.policy import RULES, Policy
from manufacturing.production_scheduling.policy_kernels import FEATURES, JobShop, Network, Record

RULE_WEIGHT = 8.0
"""Of `tail` at the start: two jobs that differ by a tenth of the longest are chosen with 69 to 31 %."""
LOOK = 25
"""Updates between two looks at the validation shops."""
ENTROPY = 0.003
"""Weight of the entropy in the loss: it keeps sampling alive."""


class Scorer(nn.Module):
    """The score of `policy.score`, for queues one after the other."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        features = len(FEATURES)
        self.linear = nn.Parameter(torch.zeros(features))
        self.first = nn.Linear(2 * features, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, 1, bias=False)
        with torch.no_grad():
            self.linear[FEATURES.index("tail")] = RULE_WEIGHT
            self.last.weight.zero_()

    def forward(self, rows: Tensor, queue: Tensor, queues: int) -> Tensor:
        """Scores (rows,) of features (rows, features); `queue` (rows,) says which queue each is in."""
        count = torch.zeros(queues).index_add(0, queue, torch.ones(len(rows)))
        mean = torch.zeros(queues, rows.shape[1]).index_add(0, queue, rows) / count[:, None]
        both = torch.cat([rows, mean[queue]], dim=1)
        deep = self.last(torch.relu(self.second(torch.relu(self.first(both))))).squeeze(1)
        return rows @ self.linear + deep

    def network(self) -> Network:
        """As the compiled loops take it."""
        tensors = (
            self.linear,
            self.first.weight.T,
            self.first.bias,
            self.second.weight.T,
            self.second.bias,
            self.last.weight[0],
        )
        return Network(*(np.ascontiguousarray(one.detach().numpy(), np.float64) for one in tensors))


def learn_policy(settings: Learning, seed: int) -> tuple[Policy, dict[str, float]]:
    """The policy that was best on the validation shops, and its mean makespan there over that of most work remaining.

    Runs `updates`, or until `seconds` are over.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng([seed, 5])
    valid = [_shop(settings, np.random.default_rng([seed, 6, k])) for k in range(settings.valid_shops)]
    rule = np.array([run(shop, RULES["MWKR"]) for shop in valid])
    scorer = Scorer(settings.hidden)
    adam = torch.optim.Adam(scorer.parameters(), settings.learning_rate)
    best, kept = np.inf, scorer.network()
    until = time.perf_counter() + settings.seconds if settings.seconds else np.inf
    done = 0
    with bar("policy", settings.updates) as advance:
        for update in range(settings.updates + 1):
            if update % LOOK == 0 or update == settings.updates:
                net = scorer.network()
                ratio = float(np.mean([run(shop, net) for shop in valid] / rule))
                if ratio < best:
                    best, kept = ratio, net
                advance(min(LOOK, update), f"{best:.4f} of MWKR")
            if update == settings.updates or time.perf_counter() > until:
                break
            for group in adam.param_groups:  # down to nothing, by half a cosine
                group["lr"] = settings.learning_rate * 0.5 * (1 + np.cos(np.pi * update / settings.updates))
            _update(settings, scorer, adam, rng)
            done += 1
    return Policy(kept), {"policy_makespan_ratio": best, "policy_updates": float(done)}


def _shop(settings: Learning, rng: np.random.Generator) -> JobShop:
    jobs, machines = settings.sizes[rng.integers(len(settings.sizes))]
    flexible, setups = rng.random(2) < (settings.flexible, settings.setups)
    families = int(rng.integers(2, 6)) if setups else 1
    return random_shop(rng, jobs, machines, bool(flexible), families)


def _update(settings: Learning, scorer: Scorer, adam: torch.optim.Optimizer, rng: np.random.Generator) -> None:
    net = scorer.network()
    records: list[Record] = []
    advantages: list[np.ndarray] = []
    for _ in range(settings.shops):
        shop = _shop(settings, rng)
        runs = [recorded(shop, net, int(rng.integers(2**62))) for _ in range(settings.rollouts)]
        makespan = np.array([one for one, _ in runs], float)
        advantages.append((makespan.mean() - makespan) / (makespan.std() + 1e-6))
        records += [record for _, record in runs]
    loss = _loss(scorer, records, np.concatenate(advantages))
    adam.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(scorer.parameters(), 1.0)
    adam.step()


def _loss(scorer: Scorer, records: Sequence[Record], advantage: np.ndarray) -> Tensor:
    """Mean over the runs of -advantage x log-probability of all choices, less the entropy."""
    sizes = np.concatenate([np.diff(record.begin) for record in records])
    begin = np.cumsum([0, *sizes[:-1]])
    chosen = torch.from_numpy(begin + np.concatenate([record.chosen for record in records]))
    episode = torch.from_numpy(np.repeat(np.arange(len(records)), [len(record.chosen) for record in records]))
    rows = torch.from_numpy(np.concatenate([record.rows for record in records]))
    queue = torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes))
    score = scorer(rows, queue, len(sizes))
    top = torch.full((len(sizes),), -torch.inf).scatter_reduce(0, queue, score.detach(), "amax")
    score = score - top[queue]
    log_total = torch.zeros(len(sizes)).index_add(0, queue, score.exp()).log()
    log = score - log_total[queue]
    weight = torch.from_numpy(advantage.astype(np.float32))[episode]
    entropy = -(log.exp() * log).sum() / len(sizes)
    return -(weight * log[chosen]).sum() / len(records) / 10 - ENTROPY * entropy
