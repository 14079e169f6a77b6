"""The 18 identifiers of HIPAA by form and cue, in English and Chinese; and what of a note must stay."""

from __future__ import annotations

import pytest

from common.text.identifiers import fold
from healthcare.medical_records.deid import patterns
from healthcare.medical_records.deid.deidentify import Deidentifier
from healthcare.medical_records.deid.identifiers import HIPAA, resolve
from healthcare.medical_records.deid.simulator import simulate

FIND = Deidentifier().find


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("Patient Name: Smith, John A. was seen", "name", "Smith, John A."),
        ("Seen with Dr. Okafor today", "name", "Okafor"),
        ("Electronically signed by Maria O'Neill, MD", "name", "Maria O'Neill"),
        ("his wife, Anna Lee Brown, says", "name", "Anna Lee Brown"),
        ("患者姓名：欧阳娜娜，女", "name", "欧阳娜娜"),
        ("患者王小明，男，56岁，因咳嗽入院", "name", "王小明"),
        ("李建国主任医师查房", "name", "李建国"),
        ("lives at 12 Oak Ridge Road, Apt 4 with", "location", "12 Oak Ridge Road, Apt 4"),
        ("ZIP code: 02139", "location", "02139"),
        ("家住浙江省杭州市西湖区文化路12号3栋501室。", "location", "浙江省杭州市西湖区文化路12号3栋501室"),
        ("admitted 03/05/2020 with", "date", "03/05/2020"),
        ("seen on March 3rd, 2021 at", "date", "March 3rd, 2021"),
        ("on 5-Mar-2019,", "date", "5-Mar-2019"),
        ("since 3/12 he", "date", "3/12"),
        ("于2020年3月5日入院", "date", "2020年3月5日"),
        ("二〇二〇年十二月三日出院", "date", "二〇二〇年十二月三日"),
        ("is a 93-year-old man", "age", "93"),
        ("年龄：91", "age", "91"),
        ("moved on 12/03.", "date", "12/03"),
        ("Admission Date: [2151-7-16]", "date", "2151-7-16"),
        ("微信号：zw_1988。", "other", "zw_1988"),
        ("call (617) 555-0123 now", "phone", "(617) 555-0123"),
        ("手机13812345678。", "phone", "13812345678"),
        ("Fax: 617-555-0124", "fax", "617-555-0124"),
        ("传真：010-68385130，", "fax", "010-68385130"),
        ("write to jörg.m@klinik.example.de today", "email", "jörg.m@klinik.example.de"),
        ("SSN: 078-05-1120", "national_id", "078-05-1120"),
        ("身份证号：11010519491231002X", "national_id", "11010519491231002X"),
        ("MRN: 00123456", "mrn", "00123456"),
        ("住院号：ZY123456 床号12", "mrn", "ZY123456"),
        ("Medicare number 1EG4-TE5-MK73", "plan", "1EG4-TE5-MK73"),
        ("医保卡号：A12345678", "plan", "A12345678"),
        ("account no. 55-1234-9", "account", "55-1234-9"),
        ("card 4111 1111 1111 1111", "account", "4111 1111 1111 1111"),
        ("driver's license S99940903", "license", "S99940903"),
        ("医师执业证书编号：110110000012345", "license", "110110000012345"),
        ("license plate 7ABC 123", "vehicle", "7ABC 123"),
        ("车牌号：京A·12345", "vehicle", "京A·12345"),
        ("pacemaker serial number PJN123456H", "device", "PJN123456H"),
        ("see https://portal.example.com/p?id=7.", "url", "https://portal.example.com/p?id=7"),
        ("login from 10.20.30.40 and", "ip", "10.20.30.40"),
        ("登录IP：2001:db8:0:1:1:1:1:7f", "ip", "2001:db8:0:1:1:1:1:7f"),
        ("护士王芳测血压", "name", "王芳"),
        ("fingerprint ID FP-88231", "biometric", "FP-88231"),
        ("photo IMG_2041.jpg attached", "photo", "IMG_2041.jpg"),
        ("Accession number A12-3456", "other", "A12-3456"),
        ("检查号：CT20201234", "other", "CT20201234"),
    ],
)
def test_found(text: str, kind: str, expected: str) -> None:
    assert (kind, expected) in {(it.kind, it.text) for it in FIND(text)}


def test_every_identifier_of_hipaa_has_a_test_in_the_simulator() -> None:
    assert len({paragraph for paragraph, _ in HIPAA.values()}) == 18
    found = {it.kind for part in ("train", "test") for one in simulate(0, 1, part=part) for it in one.identifiers}
    assert found >= set(HIPAA)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "BP 120/80, HR 72, RR 16, T 98.6, SpO2 97 % on 2 L",
        "Na 138, K 4.1, Cl 102, CO2 24, BUN 18, Cr 1.1, WBC 12.3 x10^9/L, Plt 250000",
        "pain 5/10, strength 4/5, GCS 15, EF 55-60 %",
        "metformin 500 mg PO BID x 10 days, insulin 10 units at 08:30",
        "HIV viral load 1200000 copies/mL",
        "He may eat in March hares' company; marked improvement.",
        "患者高热，体温39.2℃，于3天前出现腹痛，无黄疸。",
        "血常规：WBC 12.3×10^9/L，血糖11.2mmol/L，阿司匹林100mg口服每日一次",
        "医生高度怀疑，时间12:30:45，比例1:2:3",
        "任何不适随诊，常规复查，何时手术待定，金黄色葡萄球菌",
        "The patient was seen by the surgeon and discharged home.",
    ],
)
def test_what_stays(text: str) -> None:
    assert FIND(text) == []


def test_numbers_with_cues_are_found_in_lines_that_no_rule_was_written_on() -> None:
    kinds = set(HIPAA) - {"name", "location", "age"}
    truth = found = 0
    for one in simulate(1, 5, part="test"):
        covered = {at for it in FIND(one.text) for at in range(it.start, it.end)}
        for it in one.identifiers:
            if it.kind in kinds:
                truth += 1
                found += all(at in covered for at in range(it.start, it.end))
    assert found / truth > 0.9


def test_overlaps_lose_nothing() -> None:
    text = "abc def ghi"
    made = resolve(text, [("name", 0, 7), ("mrn", 4, 11)])
    assert [(it.kind, it.text) for it in made] == [("name", "abc def"), ("mrn", "ghi")]
    assert [it.text for it in resolve("Oslo, Norway", [("location", 0, 4), ("location", 6, 12)])] == ["Oslo, Norway"]
    assert resolve("a - b", [("phone", 1, 4)]) == []


@pytest.mark.parametrize(
    "piece", ["a", "1", "1 ", "1-", "a@", "A ", "Dr. ", "一", "路1", "no. ", "2020-", "Ab, ", ".", "("]
)
def test_time_goes_with_the_length(piece: str) -> None:
    text = piece * (60_000 // len(piece)) + " SSN: 078-05-1120"
    kinds = {kind for kind, _, _ in patterns.find(fold(text))}
    assert "national_id" in kinds
