"""A third party's system: tell a malignant breast tumour from a benign one by four measurements."""

from common.system import System

SYSTEM = System(
    name="example.tumour",
    summary="Tell a malignant breast tumour from a benign one by four measurements.",
    task="binary classification (malignant) on a table",
    risk="an example, not for patients",
    datasets=(),
    extras=("tabular",),
    presets=("sample", "reference"),
    config="espalier_tumour.config:Config",
    train="espalier_tumour.train:train",
    evaluate="espalier_tumour.evaluate:evaluate",
    predictor="espalier_tumour.serve:TumourPredictor",
)
