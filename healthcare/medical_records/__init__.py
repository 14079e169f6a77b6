"""Medical records: what a note says, about whom and whether it was denied; identifiers masked; FHIR R4 in and out."""

from common.system import System

ROOM = "healthcare.medical_records"

SYSTEM = System(
    name=ROOM,
    summary="Reads clinical notes in English and Chinese, de-identified by default, and writes FHIR R4 with evidence.",
    task="named entities with assertion and codes, results, medications, de-identification, FHIR R4",
    risk="high if it takes part in care (EU AI Act, Annex I, through the Medical Device Regulation); "
    "no medical device, for research and teaching",
    datasets=(
        "ncbi-disease",
        "chinese-ehr-ner",
        "negex-context-sentences",
        "presidio-synth-pii",
        "synthea-fhir-r4-10",
        "fhir-r4-examples",
        "ddi-open",
    ),
    extras=("healthcare",),
    presets=("sample", "reference", "accurate"),
    config=f"{ROOM}.config:Config",
    train=f"{ROOM}.train:train",
    evaluate=f"{ROOM}.evaluate:evaluate",
    bench=f"{ROOM}.bench:bench",
    predictor=f"{ROOM}.serve:MedicalRecordsPredictor",
    acceptance=("valid_f1 >= 0.6",),
    demo="sample",
    intended_use="Not a medical device: decision support for research and teaching. To find and order what notes say, "
    "for people who read the note itself before they act; every line points at the characters that it comes from.",
    limits=(
        "De-identification misses something: recall is not 1. A person looks before notes leave the house.",
        "Token models learnt from abstracts (English) and from records of one source (Chinese), or from simulated "
        "notes; other hospitals write otherwise.",
        "Codes come from openly licensed tables alone, and are candidates, not coding for billing. LOINC codes are "
        "copyright Regenstrief Institute and used under its licence; ATC is copyright WHO Collaborating Centre for "
        "Drug Statistics Methodology.",
        "English and Chinese; other languages are refused.",
    ),
)
