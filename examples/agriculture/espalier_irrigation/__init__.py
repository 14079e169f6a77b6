"""A third party's system: say whether a field needs water within three days."""

from common.system import System

ROOM = "espalier_irrigation"

SYSTEM = System(
    name="agriculture.irrigation",
    summary="Say whether a field needs water within three days.",
    task="binary classification (drought stress) on a table",
    risk="minimal: advice to a farmer",
    datasets=(),
    extras=("tabular", "serve"),
    presets=("sample", "reference"),
    config=f"{ROOM}.config:Config",
    train=f"{ROOM}.train:train",
    evaluate=f"{ROOM}.evaluate:evaluate",
    bench=f"{ROOM}.evaluate:bench",
    predictor=f"{ROOM}.serve:IrrigationPredictor",
    acceptance=("valid_auc >= 0.6",),
)
