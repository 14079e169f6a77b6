"""Credit scoring: a WOE scorecard, an additive boosting challenger, decisions with exact reasons."""

from common.system import System

ROOM = "finance.credit_scoring"

SYSTEM = System(
    name=ROOM,
    summary="Score an applicant, decide, and say exactly why.",
    task="binary classification (default) on tabular applications",
    risk="high: creditworthiness of natural persons (EU AI Act, Annex III 5b)",
    datasets=("credit-german", "credit-south-german", "credit-taiwan-default"),
    extras=("tabular", "serve"),
    presets=("sample", "reference", "full", "speed"),
    config=f"{ROOM}.config:Config",
    train=f"{ROOM}.train:train",
    evaluate=f"{ROOM}.evaluate:evaluate",
    bench=f"{ROOM}.bench:bench",
    predictor=f"{ROOM}.serve:CreditPredictor",
    acceptance=("valid_auc >= 0.65",),
    objective=f"{ROOM}.train:objective",
)
