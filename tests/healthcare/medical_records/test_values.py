import re

import pytest

from healthcare.medical_records.labs import lab_values
from healthcare.medical_records.medication import Medication, medications, named_by_dose


@pytest.mark.parametrize(
    ("text", "test", "value", "unit"),
    [
        ("Hb 7,8", "hemoglobin", 7.8, None),
        ("WBC 12.3 x10^9/L", "leukocytes", 12.3, "10*9/L"),
        ("PLT 12.3*10^9/L", "platelets", 12.3, "10*9/L"),
        ("白细胞计数(WBC)：12.3×10^9/L", "leukocytes", 12.3, "10*9/L"),
        ("血糖 11.2 mmol/L", "glucose", 11.2, "mmol/L"),
        ("platelets 12,300 /uL", "platelets", 12300, "/uL"),
        ("Hemoglobin was 7.8 g/dL", "hemoglobin", 7.8, "g/dL"),
        ("T 38.5 ℃", "temperature", 38.5, "Cel"),
        ("Temp 101.3F", "temperature", 101.3, "[degF]"),
        ("T 38.2 C", "temperature", 38.2, "Cel"),
        ("CA 125 35 U/mL", "ca125", 35, "U/mL"),
        ("hemoglobin A1c: 8.1%", "hba1c", 8.1, "%"),
        ("CK 300 foo/bar", "creatine_kinase", 300, None),
    ],
)
def test_a_value_with_its_unit(text: str, test: str, value: float, unit: str | None) -> None:
    (found,) = lab_values(text)
    assert (found.test, found.value, found.ucum) == (test, value, unit)
    assert text[found.start : found.end] == found.text == text


def test_a_value_without_unit_stays_without() -> None:
    (found,) = lab_values("creatinine increased to 2.1 today")
    assert (found.value, found.unit, found.ucum, found.codes) == (2.1, "", None, ())


def test_an_unknown_unit_is_kept_as_written() -> None:
    (found,) = lab_values("CK 300 foo/bar")
    assert (found.unit, found.ucum) == ("foo/bar", None)


@pytest.mark.parametrize(
    ("text", "flag", "low", "high"),
    [
        ("creatinine 1.9 mg/dL (H)", "high", None, None),
        ("空腹血糖11.2mmol/L↑（3.9-6.1）", "high", 3.9, 6.1),
        ("Hb 11.1 g/dL (12.0-16.0)", "low", 12.0, 16.0),
        ("Hb 13.1 g/dL (12.0-16.0)", "normal", 12.0, 16.0),
        ("Hb 13.1 g/dL", None, None, None),
    ],
)
def test_the_flag_is_written_or_follows_from_the_range(text, flag, low, high) -> None:
    (found,) = lab_values(text)
    assert (found.flag, found.low, found.high) == (flag, low, high)


def test_no_number_is_made_up() -> None:
    ranged, worded, below = lab_values("glucose 100-120 mg/dl; HBsAg positive; troponin <0.01 ng/mL")
    assert (ranged.value, ranged.written) == (None, "100-120")
    assert (worded.value, worded.written) == (None, "positive")
    assert (below.value, below.comparator, below.flag) == (0.01, "<", None)


def test_loinc_only_when_the_unit_says_which() -> None:
    molar, mass, bare = lab_values("glucose 5.6 mmol/L. glucose 101 mg/dL. glucose 101")
    assert [code.code for code in molar.codes] == ["15074-8"]
    assert mass.codes == bare.codes == ()


def test_blood_pressure_is_two_values() -> None:
    assert [(v.test, v.value, v.ucum) for v in lab_values("血压 130/85mmHg")] == [
        ("systolic", 130, "mm[Hg]"),
        ("diastolic", 85, "mm[Hg]"),
    ]


@pytest.mark.parametrize(
    "text",
    ["potassium 20 mEq PO daily", "magnesium 400 mg", "Hb 12/3/2020", "aspirin 500 mg 3 times", "admitted on T 12."],
)
def test_doses_dates_and_words_are_no_results(text: str) -> None:
    assert lab_values(text) == []


def medication(marked: str) -> tuple[str, Medication]:
    found = re.search(r"\[(.+?)\]", marked)
    assert found is not None
    text = marked[: found.start()] + found[1] + marked[found.end() :]
    return text, medications(text, [(found.start(), found.start() + len(found[1]))])[0]


def test_a_whole_sig() -> None:
    text, one = medication("Start [metformin] 500 mg PO BID x 10 days, then stop.")
    assert one.text == text[one.start : one.end] == "metformin 500 mg PO BID x 10 days"
    assert one.dose
    assert (one.dose.value, one.dose.unit, one.dose.span.text) == (500, "mg", "500 mg")
    assert one.route == "oral"
    assert one.frequency
    assert (one.frequency.times, one.frequency.period, one.frequency.unit) == (2, 1, "d")
    assert one.duration
    assert (one.duration.value, one.duration.unit) == (10, "d")
    assert not one.as_needed
    assert not one.stopped


def test_a_chinese_sig() -> None:
    _, one = medication("[阿司匹林] 100mg 口服 每日一次")
    assert one.dose
    assert (one.dose.value, one.dose.unit) == (100, "mg")
    assert one.route == "oral"
    assert one.frequency
    assert (one.frequency.times, one.frequency.unit) == (1, "d")


@pytest.mark.parametrize(
    ("text", "times", "period", "unit", "longest"),
    [
        ("[Tylenol] 650 mg q4-6h prn", 1, 4, "h", 6),
        ("[vancomycin] 15 mg/kg IV q12h", 1, 12, "h", None),
        ("[albuterol] 2 puffs every 4 hours as needed", 1, 4, "h", None),
        ("[二甲双胍]0.5g 每日3次 餐后", 3, 1, "d", None),
        ("[左氧氟沙星]0.5g 静滴 1次/日", 1, 1, "d", None),
        ("[methotrexate] 15 mg once weekly", 1, 1, "wk", None),
        ("[warfarin] 5 mg every other day", 1, 2, "d", None),
    ],
)
def test_frequencies(text, times, period, unit, longest) -> None:
    often = medication(text)[1].frequency
    assert often
    assert (often.times, often.period, often.unit, often.longest) == (times, period, unit, longest)


def test_a_dose_before_the_name_and_what_is_not_written() -> None:
    text, one = medication("Given 500 mg of [amoxicillin] by mouth.")
    assert one.dose
    assert one.dose.value == 500
    assert one.text == "500 mg of amoxicillin by mouth" == text[one.start : one.end]
    _, bare = medication("Takes [aspirin].")
    assert bare.dose is bare.route is bare.frequency is bare.duration is None


def test_parts_stay_with_their_drug() -> None:
    text = "aspirin, clopidogrel 75 mg daily"
    first, second = medications(text, [(0, 7), (9, 20)])
    assert first.dose is None
    assert second.dose
    assert second.dose.value == 75


def test_stopped_and_as_needed() -> None:
    assert medication("[warfarin] 2.5 mg daily was discontinued")[1].stopped
    assert medication("停用[华法林]")[1].stopped
    assert medication("[oxycodone] 5 mg PO q6h prn pain")[1].as_needed
    assert medications("no drugs", []) == []


def test_drugs_by_their_dose() -> None:
    text = "He takes Xyzaldin 20 mg PO daily and weighs 80 kg. 依那普利 10mg 口服。"
    assert [text[start:end] for start, end in named_by_dose(text)] == ["Xyzaldin", "依那普利"]
