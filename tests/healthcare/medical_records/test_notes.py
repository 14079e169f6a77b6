import json
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from common.errors import BundleCorrupted, InvalidRequest, RequestTooLarge
from healthcare.medical_records.abbreviations import abbreviations
from healthcare.medical_records.dictionary import Dictionary, Term
from healthcare.medical_records.notes import LONGEST, language_of, read_note
from healthcare.medical_records.spans import RXNORM, SNOMED, Code, Entity
from healthcare.medical_records.summary import summarise
from healthcare.medical_records.terms import (
    abbreviation_terms,
    chinese_terms,
    drugref_terms,
    icd10cm_terms,
    ncbi_terms,
    own_terms,
    synthea_terms,
)

ENGLISH = """CC: chest pain
HPI: 58 y/o man presents with chest pain. Denies fever, chills. No cough.
PMH: asthma
FH: mother with breast cancer
Medications: metformin 500 mg PO BID, aspirin 81 mg daily. Warfarin was stopped.
Labs: Hb 7.8 g/dL. BP 120/80 mmHg
Assessment: possible pneumonia. Return if seizure."""
CHINESE = """主诉：咳嗽3天。现病史：患者咳嗽，伴发热，无胸痛、咯血。既往史：高血压，否认糖尿病。
家族史：父亲患肺癌。血糖 11.2 mmol/L。硝苯地平 30mg qd 口服。诊断：肺炎？"""


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    return Dictionary(own_terms())


def lines(note: str, dictionary: Dictionary) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for line in summarise(read_note(note, dictionary)):
        assert line.evidence
        assert all(note[span.start : span.end] == span.text for span in line.evidence)
        groups.setdefault(line.group, []).append(line.text)
    return groups


def test_an_english_note_in_lines_with_evidence(dictionary: Dictionary) -> None:
    assert lines(ENGLISH, dictionary) == {
        "problems": ["chest pain"],
        "uncertain": ["pneumonia"],
        "history": ["asthma"],
        "denied": ["fever", "chills", "cough"],
        "family": ["breast cancer"],
        "drugs": ["metformin 500 mg PO BID", "aspirin 81 mg daily"],
        "stopped": ["Warfarin"],
        "results": ["Hb 7.8 g/dL", "BP 120/80 mmHg"],
    }


def test_a_chinese_note_in_lines_with_evidence(dictionary: Dictionary) -> None:
    assert lines(CHINESE, dictionary) == {
        "problems": ["咳嗽", "发热"],
        "uncertain": ["肺炎"],
        "history": ["高血压"],
        "denied": ["胸痛", "咯血", "糖尿病"],
        "family": ["肺癌"],
        "drugs": ["硝苯地平 30mg qd 口服"],
        "results": ["血糖 11.2 mmol/L"],
    }


def test_a_concept_said_twice_is_one_line_with_two_places(dictionary: Dictionary) -> None:
    first = summarise(read_note(ENGLISH, dictionary))[0]
    assert (first.text, len(first.evidence)) == ("chest pain", 2)


def test_every_entity_stands_where_it_says(dictionary: Dictionary) -> None:
    for text in (ENGLISH, CHINESE):
        note = read_note(text, dictionary)
        assert all(text[one.start : one.end] == one.text and one.assertion for one in note.entities)
        assert all(a.end <= b.start for a, b in zip(note.entities, note.entities[1:], strict=False))


def test_entities_of_a_model_win(dictionary: Dictionary) -> None:
    extra = [Entity("disease", 14, 31, "severe chest pain")]
    note = read_note("Presents with severe chest pain and fever.", dictionary, extra)
    assert [one.text for one in note.entities] == ["severe chest pain", "fever"]


@pytest.mark.parametrize(
    ("text", "language"),
    [("No fever.", "en"), ("无发热", "zh"), ("患者 CT 示 lung nodule 右肺结节", "zh"), ("Afebrile; HR 88", "en")],
)
def test_languages(text: str, language: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   12 / 7 ",
        "Пациент жалуется на боль",
        "患者さんは発熱がありません。",
        "Der Patient hat keine Schmerzen und das Herz ist nicht krank.",
    ],
)
def test_other_languages_and_no_text_are_refused(text: str, dictionary: Dictionary) -> None:
    with pytest.raises(InvalidRequest, match="English or Chinese"):
        read_note(text, dictionary)


def test_no_error_repeats_the_note(dictionary: Dictionary) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_note("139-1234-5678", dictionary)
    assert "139" not in str(caught.value)


def test_a_note_of_five_megabytes_is_refused(dictionary: Dictionary) -> None:
    with pytest.raises(RequestTooLarge, match="send each note by itself"):
        read_note("No fever. " * 500_000, dictionary)
    assert LONGEST < 5_000_000


def test_the_longest_term_wins_and_capitals_count_for_short_forms() -> None:
    code = Code(SNOMED, "1", "Type 2 diabetes")
    own = Dictionary([Term("diabetes", "disease"), Term("type 2 diabetes", "disease", (code,)), Term("AS", "disease")])
    text = "Type  2 diabetes such as AS; polyp"
    assert [(one.text, one.codes) for one in own.find(text)] == [("Type  2 diabetes", (code,)), ("AS", ())]
    assert [one.text for one in Dictionary([Term("polyp", "disease")]).find("Polyps, polypoid")] == ["Polyps"]
    assert own.find("") == []


def test_codes_of_several_tables_meet() -> None:
    first, second = Code(SNOMED, "1", "a"), Code(RXNORM, "2", "b")
    own = Dictionary([Term("Aspirin", "drug", (first,)), Term("aspirin", "disease", (second, Code(SNOMED, "9", "c")))])
    (found,) = own.find("ASPIRIN")
    assert (found.kind, found.codes) == ("drug", (first, second))


def test_the_state_gives_the_same_dictionary(dictionary: Dictionary) -> None:
    again = Dictionary.from_state(dictionary.state())
    assert len(again) == len(dictionary)
    assert again.find(ENGLISH) == dictionary.find(ENGLISH)
    for broken in ("{}", "x", json.dumps({"codes": [], "terms": [["a b", "planet", "", []]]})):
        with pytest.raises(BundleCorrupted):
            Dictionary.from_state(broken)


def test_terms_of_the_tables(tmp_path) -> None:
    def ndjson(name: str, field: str, display: str) -> None:
        row = {field: {"coding": [{"system": "s", "code": "7", "display": display}]}}
        (tmp_path / name).write_text(json.dumps(row) + "\n")

    ndjson("Condition.000.ndjson", "code", "Acute bronchitis (disorder)")
    ndjson("Procedure.000.ndjson", "code", "Renal dialysis (procedure)")
    ndjson(
        "MedicationRequest.000.ndjson", "medicationCodeableConcept", "24 HR Metformin hydrochloride 500 MG Oral Tablet"
    )
    synthea = list(synthea_terms({path.name: path for path in tmp_path.glob("*.ndjson")}))
    assert [(term.text, term.kind) for term in synthea[:2]] == [
        ("Acute bronchitis", "disease"),
        ("Renal dialysis", "procedure"),
    ]
    assert {term.text for term in synthea[3:]} == {"Metformin hydrochloride", "Metformin"}

    (tmp_path / "ncbi.txt").write_text(
        "1|t|x\n1\t0\t5\tgouty\tDiseaseClass\tD006073\n1\t0\t5\tbig flu\tSpecificDisease\tD1|D2\n"
        "1\t0\t3\tAPC\tSpecificDisease\tD011125\n1\t0\t5\tgouty\tDiseaseClass\tOMIM:138900\n"
    )
    assert [(t.text, [c.code for c in t.codes]) for t in ncbi_terms(tmp_path / "ncbi.txt")] == [
        ("gouty", ["D006073", "138900"]),
        ("big flu", []),
    ]

    (tmp_path / "ddi.csv").write_text(
        "id\taffectingdrug\taffectingatc\taffecteddrug\taffectedatc\n"
        "1\tWARFARIN\tB01AA03\tBENZODIAZEPINE, LONG\tN05BA01\n"
    )
    assert [(t.text, t.codes[0].code) for t in drugref_terms(tmp_path / "ddi.csv")] == [("warfarin", "B01AA03")]

    mention = {"mention": "胃癌", "label": "疾病和诊断", "offset": 0}
    (tmp_path / "zh.json").write_text(json.dumps({"text": "胃癌", "mention_data": [mention, mention]}) + "\n")
    assert [(t.text, t.kind) for t in chinese_terms(tmp_path / "zh.json")] == [("胃癌", "disease")]


def test_icd10cm_names_as_clinicians_say_them(monkeypatch) -> None:
    names = {
        "E11.9": "Type 2 diabetes mellitus without complications",
        "R05": "Cough",
        "R05.9": "Cough, unspecified",
        "I10": "Essential (primary) hypertension",
        "I48.91": "Unspecified atrial fibrillation",
        "W01": "Fall on same level",
        "Z00-Z99": "A chapter",
    }
    icd = ModuleType("simple_icd_10_cm")
    icd.__spec__ = ModuleSpec("simple_icd_10_cm", None)
    facts = {
        "get_all_codes": lambda dots: list(names),
        "get_description": names.get,
        "get_inclusion_term": lambda code: ["Coughing [tussis] NOS"] if code == "R05.9" else [],
        "get_includes": lambda code: ["hypertension (arterial)"] if code == "I10" else [],
    }
    for name, fact in facts.items():
        setattr(icd, name, fact)
    monkeypatch.setitem(sys.modules, "simple_icd_10_cm", icd)
    found = {term.text: (term.kind, term.codes[0].code) for term in icd10cm_terms()}
    assert found == {
        "type 2 diabetes mellitus": ("disease", "E11.9"),
        "type 2 diabetes": ("disease", "E11.9"),
        "cough": ("symptom", "R05.9"),
        "coughing": ("symptom", "R05.9"),
        "essential hypertension": ("disease", "I10"),
        "essential primary hypertension": ("disease", "I10"),
        "hypertension": ("disease", "I10"),
        "hypertension arterial": ("disease", "I10"),
        "atrial fibrillation": ("disease", "I48.91"),
    }


def test_no_icd10cm_no_terms(monkeypatch) -> None:
    monkeypatch.setattr("healthcare.medical_records.terms.find_spec", lambda name: None)
    assert list(icd10cm_terms()) == []


def test_abbreviations_keep_their_meanings_unless_the_note_says() -> None:
    found = {one.text: one for one in abbreviations("MS, HTN, chronic kidney disease (CKD). multiple sclerosis (MS)")}
    assert found["MS"].meanings == ("multiple sclerosis",)
    assert found["MS"].defined
    assert not found["HTN"].defined
    assert len(abbreviations("MS worse")[0].meanings) > 1
    assert abbreviations("ms, pt, as") == []


def test_only_abbreviations_with_one_meaning_become_terms() -> None:
    own = {
        term.text: term
        for term in abbreviation_terms([Term("hypertension", "disease"), Term("multiple sclerosis", "disease")])
    }
    assert "HTN" in own
    assert "MS" not in own
