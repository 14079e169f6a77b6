"""From marked notes to a bundle: token models, a dictionary with codes, and a tagger of what identifies."""

from __future__ import annotations

from typing import Any

import numpy as np

from common.bundle import Bundle, save_bundle
from common.evaluation.stability import reference_histogram
from common.files import sha256
from healthcare.medical_records import SYSTEM
from healthcare.medical_records.config import PUBLISHED, Config
from healthcare.medical_records.data import Corpus, corpora, dictionary, identified, load_tests
from healthcare.medical_records.deid.fit_tagger import fit_tagger
from healthcare.medical_records.evaluate_ner import evaluate_ner
from healthcare.medical_records.model import Graph, RecordReader
from healthcare.medical_records.ner import train_ner
from healthcare.medical_records.simulator import SIMULATED
from healthcare.medical_records.spans import Language

EXAMPLES = (
    "Chief complaint: chest pain for 3 days.\nThe patient is a 62 year old man with hypertension and type 2 diabetes. "
    "He denies fever, chills or cough.\nMedications: metformin 500 mg PO BID, aspirin 81 mg daily.\n"
    "WBC 12.3 x10^9/L, Hb 9.8 g/dL.\nAssessment: possible pneumonia. No evidence of pulmonary embolism.",
    "Mother had breast cancer. Status post appendectomy in 2012. Fever: none. Chest x-ray is negative for pneumonia.",
    "Patient: John Smith, MRN 483920, seen on 03/04/2024 by Dr. Alice Jones, phone (555) 123-4567. Stable asthma.",
    "主诉：发热3天。患者男，62岁，既往有高血压病史，口服阿司匹林100mg 每日一次。否认糖尿病病史。血糖 11.2 mmol/L。",
    "姓名：王小明，身份证号 110101199003074514，电话13800138000。胸片未见肺炎。",
    "Follow up in two weeks with the primary care doctor.",
)
"""Golden requests, invented here."""


def train(config: Config) -> Bundle:
    """Load, fit and save; no test part is opened."""
    learnt = corpora(config)
    graphs = {language: fitted(config, language, corpus) for language, corpus in learnt.items()}
    identifiers = fit_tagger(identified(config), config.identifiers.fitting, seed=config.seed)
    return save(config, learnt, RecordReader(dictionary(config), graphs, identifiers))


def fitted(config: Config, language: Language, corpus: Corpus) -> Graph:
    """The token model of one language."""
    recipe = config.english if language == "en" else config.chinese
    return Graph(*train_ner(corpus.train, corpus.valid, recipe, seed=config.seed, others=corpus.others))


def save(config: Config, learnt: dict[Language, Corpus], reader: RecordReader) -> Bundle:
    """The bundle of a reader."""
    metrics: dict[str, Any] = {
        f"valid_f1_{language}": evaluate_ner(corpus.valid, reader.finders[language])["f1"].value
        for language, corpus in learnt.items()
    }
    metrics["valid_f1"] = float(np.mean(list(metrics.values())))
    densities = [reader.read(text).density for corpus in learnt.values() for text in corpus.valid.texts]
    return save_bundle(
        SYSTEM,
        config,
        arrays={"model.safetensors": reader.arrays()},
        files=reader.files(),
        preprocess={"languages": sorted(learnt), "terms": len(reader.dictionary)},
        metrics=metrics,
        data={
            "cards": [
                {"id": c.id, "title": c.title, "licence": c.licence, "sha256": c.sha256} for c in learnt.values()
            ],
            "simulated": any(corpus.simulated for corpus in learnt.values()),
            "split": split_of(config),
            "test_rows_sha256": sha256(test_rows(config, learnt)),
        },
        reference={"density": reference_histogram(densities)},
        examples=[{"text": text} for text in EXAMPLES],
    )


def split_of(config: Config) -> str:
    """How the test part was set apart, in words."""
    if config.dataset == PUBLISHED:
        return "as published; the development part chooses epochs"
    if config.dataset == SIMULATED:
        return f"a third of the terms are for the test alone, the lines are shared, seed {config.seed}"
    return "a fifth of the notes for the test, a fifth to choose on, by a hash of the text"


def test_rows(config: Config, learnt: dict[Language, Corpus]) -> bytes:
    """The texts of the test part; of a published one, which stays closed, the hashes of the data."""
    if config.dataset == PUBLISHED:
        return "\n".join(corpus.sha256 for corpus in learnt.values()).encode()
    return "\n".join(text for test in load_tests(config).values() for text in test.texts).encode()
