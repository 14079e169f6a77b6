"""Production scheduling: plans that come fast, improve with a proven bound, are checked, and explain themselves."""

from common.system import System

ROOM = "manufacturing.production_scheduling"

SYSTEM = System(
    name=ROOM,
    summary="Plan a shop floor within a second, improve the plan with a proven bound, check it, and explain it.",
    task="job-shop scheduling, with quantiles of processing times and a learnt dispatching policy",
    risk="minimal: it plans machines; who plans the shifts of persons asks them and keeps labour law",
    datasets=("jobshop-classic", "fjsp-brandimarte", "taillard-generator"),
    extras=("tabular", "optim", "deep", "serve"),
    presets=("sample", "reference", "full"),
    config=f"{ROOM}.config:Config",
    train=f"{ROOM}.train:train",
    evaluate=f"{ROOM}.evaluate:evaluate",
    bench=f"{ROOM}.bench:bench",
    predictor=f"{ROOM}.serve:SchedulingPredictor",
    acceptance=("valid_pinball_ratio <= 1.0", "valid_coverage80 >= 0.7"),
    demo="sample",
    intended_use="To plan and repair the work of a shop floor that states its machines, calendars and orders, with a "
    "planner who looks at the plan before it runs. Not for safety interlocks, or to rate operators.",
    limits=(
        "A plan is as good as what it was told: times, calendars and setups that are not stated are not kept.",
        "Quantiles of processing times hold for machines, families and habits like those of the history.",
        "A promised risk counts the scatter of processing times, not what was never seen: a strike, a burnt machine.",
        "The policy is trained for the makespan; for due dates take a rule that looks at them, or the solver.",
    ),
)
