"""Visual inspection: finds defective parts from pictures of good ones, shows where, keeps a stated false-alarm rate."""

from common.system import System

ROOM = "manufacturing.visual_inspection"

SYSTEM = System(
    name=ROOM,
    summary="Find a defective part from pictures of good ones, show where, and keep a promised rate of false alarms.",
    task="anomaly detection and localisation in grey pictures of parts",
    risk="minimal: no persons; a missed defect in a safety component is the operator's risk",
    datasets=("magnetic-tile",),
    extras=("manufacturing",),
    presets=("sample", "reference", "speed"),
    config=f"{ROOM}.config:Config",
    train=f"{ROOM}.train:train",
    evaluate=f"{ROOM}.evaluate:evaluate",
    bench=f"{ROOM}.bench:bench",
    predictor=f"{ROOM}.serve:InspectionPredictor",
    acceptance=("valid_auroc >= 0.75",),
    intended_use="To sort out parts for a second look, on a line where camera, light and product are those of "
    "training. Not the only check of a part on which safety depends.",
    limits=(
        "Another product or another light looks defective, or changes the rate of false alarms: train again.",
        "The promised rate is one over parts like those it was calibrated on; few of these make it wide.",
        "A strict promise misses defects, and fine cracks on parts never seen before are found badly.",
    ),
)
