"""What operators found wrong, back into a bundle in seconds: the network stays, memory and promise move.

The suspicious patches of a false alarm enter the memory of excused ones, which keeps its size, and the alarm is
calibrated anew on the base's calibration parts: they excuse nothing, so its promise is kept. A missed defect asks for a
weaker promise, within a limit. What the update changes is in `regression.json`, and in metrics that acceptance
thresholds can name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.bundle import Bundle, load_bundle
from common.errors import BundleError, DataError
from common.evaluation.stability import reference_histogram
from common.files import sha256
from common.training.registry import resolve
from manufacturing.visual_inspection import SYSTEM
from manufacturing.visual_inspection.config import Config
from manufacturing.visual_inspection.data import Pictures, load
from manufacturing.visual_inspection.evaluate import restored
from manufacturing.visual_inspection.export import export, weights_of
from manufacturing.visual_inspection.fit import auroc_of_synthetic, calibrate, held_parts, maps_of
from manufacturing.visual_inspection.learn import as_tensor
from manufacturing.visual_inspection.model import Inspector, frozen_features
from manufacturing.visual_inspection.regression import Regression, cases, show
from manufacturing.visual_inspection.serve import InspectionPredictor

SUSPICIOUS = 0.01
"""Share of a false alarm's patches that enter in one round: that whose mean is a segmenter's score."""
ROUNDS = 10
OF_UPDATE = ("base", "feedback", "regression", "regression_decisions", "feedback_false_alarms_per_1000")
"""Settings of an update; all others are the base's."""
TWICE = 2.0
"""The weakest promise that missed defects may bring about, as a multiple of the old one, if nothing else is set."""


def update(config: Config) -> dict[str, Any]:
    """What `save_bundle` takes: the bundle `config.base` after the feedback of `config.feedback`, compared with it.

    Raises `DataError` when there is no feedback or the data is not the base's, and what loading the base raises.
    """
    base = load_bundle(resolve(config.base))
    if base.manifest.system != SYSTEM.name:
        got, expected = base.manifest.system, SYSTEM.name
        raise BundleError("a bundle of another system", where=config.base, got=got, expected=expected)
    asked = Config.model_validate(base.manifest.config)
    told = [case for case in cases(config.feedback) if case.label in ("false_alarm", "missed")]
    if not told:
        raise DataError("no feedback", where=config.feedback, expected="pictures labelled false_alarm or missed")
    held = held_parts(asked, _training_parts(asked, base))
    alarms, missed = ([case for case in told if case.label == label] for label in ("false_alarm", "missed"))

    old = InspectionPredictor.load(base)
    inspector = restored(base, asked)
    entered = remember(inspector, [old.ready(case.picture) for case in alarms], old.threshold(old.promised))
    kept = base.json("preprocess.json")
    graphs = export(inspector)
    calibration = calibrate(inspector, held, (maps_of(inspector, one.picture) for one in held))
    new = InspectionPredictor(graphs, calibration, kept, "updated", old.simulated)

    limit = config.feedback_false_alarms_per_1000 or TWICE * old.promised
    asks = {case.name: 1000 * calibration.p_value(new.measure(case.picture)[0]) for case in missed}
    new.promised = max([old.promised, *(promise for promise in asks.values() if promise <= limit)])

    found = Regression(old, new)
    found.calibration([one.name for one in held])
    for case in told:
        found.decide(case, told=True)
    heard = {case.name for case in told}
    for case in cases(config.regression, config.regression_decisions):
        if case.name not in heard:
            found.decide(case)
    show(found, asks, limit)

    metrics = (
        base.json("metrics.json")
        | found.metrics()
        | {
            "valid_auroc": auroc_of_synthetic(inspector, held, calibration, asked.seed),
            "threshold": new.threshold(new.promised),
            "patches_entered": entered,
            "missed_catchable": sum(promise <= limit for promise in asks.values()),
        }
    )
    pictures = [{"file": c.name, "label": c.label, "sha256": sha256(c.picture.tobytes())} for c in told]
    chosen = {name: getattr(config, name) for name in OF_UPDATE}
    return {
        "config": asked.model_copy(update=chosen),
        "arrays": {
            "weights.safetensors": weights_of(inspector),
            "calibration.safetensors": calibration.arrays(),
        },
        "files": graphs | {"regression.json": found.json(asks, limit)},
        "preprocess": kept | {"false_alarms_per_1000": new.promised},
        "metrics": metrics,
        "data": base.json("data.json") | {"feedback": {"base": base.manifest.version, "pictures": pictures}},
        "reference": base.json("reference.json") | {"score": reference_histogram(calibration.score)},
        "examples": [pair["request"] for pair in base.examples()],
    }


def remember(inspector: Inspector, pictures: Sequence[np.ndarray], threshold: float) -> int:
    """Excuse the suspicious patches of good pictures (resized); returns how many entered.

    The hottest first, until the picture passes or it has had `ROUNDS` rounds. The memory keeps its size:
    the entries that lie closest to another one leave, and free places before all.
    """
    excuses, entered = inspector.excuses, 0
    with torch.inference_mode():
        for picture in pictures:
            features = frozen_features(inspector.backbone, as_tensor(picture))
            points = excuses.embed(features).flatten(0, 2)
            for _ in range(ROUNDS):
                maps = inspector.maps(as_tensor(picture))
                score, _, heat = inspector.judge(maps, torch.tensor([threshold]))
                if score <= threshold:
                    break
                hot = points[heat.flatten().topk(max(1, int(SUSPICIOUS * len(points)))).indices]
                hot = hot[torch.cdist(hot, excuses.bank).amin(1) >= excuses.radius]
                if not len(hot):
                    break  # what is left of its score lies all over the picture
                kept = excuses.bank[_without_redundant(excuses.bank, len(hot))]
                excuses.bank = torch.cat([kept, hot]).clone()
                entered += len(hot)
    return entered


def _without_redundant(bank: Tensor, leave: int) -> Tensor:
    """bool (size,): all but the `leave` entries that lie closest to another; each that leaves is gone for the next."""
    kept = torch.ones(len(bank), dtype=torch.bool)
    # Exact, because free places lie so far out that products of their numbers drown all others.
    distances = torch.cdist(bank, bank, compute_mode="donot_use_mm_for_euclid_dist")
    distances.fill_diagonal_(torch.inf)
    nearest, neighbour = distances.min(1)
    for _ in range(leave):
        gone = int(nearest.argmin())
        kept[gone], nearest[gone], distances[:, gone] = False, torch.inf, torch.inf
        orphans = (neighbour == gone) & kept
        nearest[orphans], neighbour[orphans] = distances[orphans].min(1)
    return kept


def _training_parts(asked: Config, base: Bundle) -> Pictures:
    """The parts that the base was trained on."""
    data = load(asked)
    if data.sha256 != base.json("data.json")["cards"][0]["sha256"]:
        where, fix = f"bundle {base.path}", "bring back the data that the base was trained on"
        raise DataError("the data changed, so the alarm cannot be calibrated again", where=where, fix=fix)
    return data.split(asked.protocol, asked.seed)["train"]
