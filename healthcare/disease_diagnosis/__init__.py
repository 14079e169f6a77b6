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
    presets=("sample", "reference", "heart", "severity", "findings", "chest", "chest-transfer", "chest-sample"),
    config=f"{ROOM}.config:Config",
    train=f"{ROOM}.train:train",
    evaluate=f"{ROOM}.evaluate:evaluate",
    bench=f"{ROOM}.bench:bench",
    predictor=f"{ROOM}.serve:DiagnosisPredictor",
    objective=f"{ROOM}.tune:objective",
    acceptance=("valid_auc >= 0.80",),
    intended_use="Not a medical device: decision support for research and teaching, to be read by a clinician together "
    "with everything else that is known of the patient; not for diagnosis, treatment or triage.",
    limits=(
        "Small sets of data from few hospitals; another hospital's patients or pictures need labels of their own.",
        "The promise is one over patients like those who were labelled, not for every patient, nor for each finding.",
        "A heat map or a reason shows what the model uses, not where or why the disease is.",
    ),
)
