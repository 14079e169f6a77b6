"""Fraud detection: transactions scored as they come, on features that are the same in history and online."""

from common.system import System

ROOM = "finance.fraud_detection"

SYSTEM = System(
    name=ROOM,
    summary="Score a transaction as it happens, decide by model and rules, and say why.",
    task="binary classification (fraud) on a stream of transactions, with delayed labels",
    risk="limited: exempt from the EU AI Act's high-risk list (Annex III 5b); a payment wrongly blocked harms a person",
    datasets=("fraud-sffsd", "fraud-aws-registration"),
    extras=("tabular", "stream", "deep", "serve"),
    presets=("sample", "reference", "speed"),
    config=f"{ROOM}.config:Config",
    train=f"{ROOM}.train:train",
    evaluate=f"{ROOM}.evaluate:evaluate",
    bench=f"{ROOM}.bench:bench",
    predictor=f"{ROOM}.serve:FraudPredictor",
    acceptance=("valid_auc >= 0.7",),
    demo="sample",
    intended_use="To hold payments for review, or decline them, within seconds and a daily number of alerts, with "
    "people who decide on alerts and hear complaints. Not to close accounts or to judge a person.",
    limits=(
        "A fraud that looks like every other payment, at a place and on a card without history, is not found.",
        "It counts one currency, and knows what is in its windows.",
        "Thresholds keep the number of alerts of past weeks: watch the number of today.",
    ),
)
