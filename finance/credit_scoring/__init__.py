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
    intended_use="Credit decisions on applicants like those of the training data, with the reasons told to them and a "
    "person who can decide otherwise. Not for hiring, insurance or any other judgement of a person.",
    limits=(
        "It learned from accepted applicants only, and nothing of a time or country that is not in the data.",
        "A probability is right for the default rate of the training data, or the one given as `prior`.",
        "Reasons say what the model looks at, not what would cause a default.",
    ),
)
