"""Customer service in two languages: understands what a customer wants, and says when it does not."""

from common.system import System

ROOM = "finance.customer_service"

SYSTEM = System(
    name=ROOM,
    summary="Understand what a customer of a bank wants, in English and Chinese, and refuse what it does not know.",
    task="intent classification with out-of-scope detection, task-oriented dialogue",
    risk="limited: people must be told that they talk to a machine (EU AI Act, Article 50)",
    datasets=("service-banking77", "service-clinc150", "service-star-bank", "service-crosswoz-zh"),
    extras=("tabular", "text", "serve"),
    presets=("sample", "reference", "banking", "clinc"),
    config=f"{ROOM}.config:Config",
    train=f"{ROOM}.train:train",
    evaluate=f"{ROOM}.evaluate:evaluate",
    bench=f"{ROOM}.bench:bench",
    predictor=f"{ROOM}.serve:CustomerServicePredictor",
    acceptance=("valid_accuracy >= 0.5",),
    demo="sample",
    intended_use="To understand what a bank's customers write, lead them through tasks that people laid down, and "
    "hand over to a person. Not for advice, nor to decide about a customer.",
    limits=(
        "What is promised of refusals holds for kinds of requests like those that were left out of training, on "
        "average over kinds; not for each kind, nor for every request.",
        "Chinese was learnt from simulated customers only.",
        "English and Chinese; other languages are refused.",
    ),
)
