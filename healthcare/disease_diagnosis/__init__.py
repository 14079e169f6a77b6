"""Disease diagnosis: a ranked differential from measurements or a picture, with a promise, or a referral."""

from common.system import System

ROOM = "healthcare.disease_diagnosis"

SYSTEM = System(
    name=ROOM,
    summary="Decision support, not a medical device: ranks possible findings, keeps a promised coverage, or refers.",
    task="classification of patients' measurements and of chest X-rays, with abstention",
    risk="high: decision support for diagnosis (EU AI Act, Annex I, through the Medical Device Regulation); "
    "no medical device, for research and teaching",
    datasets=("breast-cancer-wisconsin", "uci-heart-disease", "pneumoniamnist"),
    extras=("healthcare",),
    presets=("sample", "reference", "heart", "chest", "chest-sample"),
    config=f"{ROOM}.config:Config",
    train=f"{ROOM}.train:train",
    evaluate=f"{ROOM}.evaluate:evaluate",
    bench=f"{ROOM}.bench:bench",
    predictor=f"{ROOM}.serve:DiagnosisPredictor",
    acceptance=("valid_auc >= 0.80",),
    demo="reference",
)
