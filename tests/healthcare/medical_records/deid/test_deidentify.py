"""A note in, a note without its people out; places, policies, logs, bad input."""

from __future__ import annotations

import logging

import pytest

from common.errors import RequestTooLarge, UsageError
from healthcare.medical_records.deid.deidentify import Deidentifier, Policy
from healthcare.medical_records.deid.identifiers import Kind
from healthcare.medical_records.deid.logs import Unidentified, safe

KEY = b"0123456789abcdef"
NOTE = (
    "Patient Name: Mary Whitfield\nMRN: 00123456\nDOB: 3/5/1960\nAdmitted: 03/10/2020\n"
    "Ms. Whitfield is a 60 year-old woman with chest pain. Mary denies fever. Seen by Dr. Okafor on 3/12/2020."
)


def test_masked_by_kind() -> None:
    text = Deidentifier()(NOTE).text
    assert text == (
        "Patient Name: [NAME]\nMRN: [MRN]\nDOB: [DATE]\nAdmitted: [DATE]\n"
        "Ms. [NAME] is a 60 year-old woman with chest pain. [NAME] denies fever. Seen by Dr. [NAME] on [DATE]."
    )
    assert Deidentifier()(text).text == text


def test_surrogates_agree_within_a_patient_and_intervals_stay() -> None:
    replace = Deidentifier(policy=Policy(mode="surrogate"), key=KEY)
    text = replace(NOTE, "p1").text
    first = text.split("\n")[0].removeprefix("Patient Name: ")
    given, last = first.split()
    assert f"Ms. {last} is a 60 year-old" in text
    assert f"{given} denies fever" in text
    for word in ("Mary", "Whitfield", "Okafor", "00123456", "3/5/1960", "03/10/2020"):
        assert word not in text
    assert replace(NOTE, "p1").text == text
    assert replace(NOTE, "p2").text != text
    assert replace(f"seen {NOTE[-10:-1]}", "p1").text.split()[-1] == text.split()[-1].rstrip(".")


def test_places_are_kept_track_of() -> None:
    found = Deidentifier()(NOTE)
    for word in ("chest pain", "fever", "woman"):
        at = found.place(NOTE.index(word))
        assert found.text[at : at + len(word)] == word
    for one in found.replaced:
        assert found.text[one.new_start : one.new_end] == f"[{one.kind.upper()}]"
        assert found.place(one.start) == found.place(one.end - 1) == one.new_start


def test_what_is_known_of_the_patient_is_found_in_any_case() -> None:
    note = "marine ai was well. AI, MARINE came; record 77 12 3."
    known: list[tuple[Kind, str]] = [("name", "Marine Ai"), ("mrn", "77123"), ("mrn", "77-12-3")]
    found = {it.text for it in Deidentifier().find(note, known)}
    assert {"marine ai", "MARINE"} <= found
    assert "77 12 3" in found


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("刘女士，62岁。", "[NAME]女士，62岁。"),
        ("由陈主任查房，建议周医生会诊。", "由[NAME]主任查房，建议[NAME]医生会诊。"),
        ("主治医生查房，住院医师记录。", "主治医生查房，住院医师记录。"),
        ("治疗方案由主任医师决定。", "治疗方案由主任医师决定。"),
    ],
)
def test_a_chinese_surname_before_a_title(text: str, left: str) -> None:
    assert Deidentifier()(text).text == left


def test_ages_stay_up_to_89() -> None:
    assert Deidentifier()("a 60 year-old, a 93 year-old").text == "a 60 year-old, a [AGE] year-old"
    assert Deidentifier(policy=Policy(ages=True))("a 60 year-old").text == "a [AGE] year-old"
    replace = Deidentifier(policy=Policy(mode="surrogate"), key=KEY)
    assert replace("93岁", "p").text == "90+岁"


def test_an_impossible_date_is_masked_not_guessed() -> None:
    replace = Deidentifier(policy=Policy(mode="surrogate"), key=KEY)
    assert replace("admitted 2/30/2020.", "p").text == "admitted [DATE]."


def test_bad_input_is_told_in_a_sentence() -> None:
    with pytest.raises(RequestTooLarge, match="5000000 at most"):
        Deidentifier()("a" * 5_000_001)
    with pytest.raises(UsageError, match="16 or more"):
        Deidentifier(policy=Policy(mode="surrogate"), key=b"short")
    with pytest.raises(UsageError, match="surrogates need a patient"):
        Deidentifier(policy=Policy(mode="surrogate"), key=KEY)("note")


def test_logs_hold_nothing_unmasked(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("records-under-test")
    masking = Unidentified()
    caplog.handler.addFilter(masking)
    with caplog.at_level("INFO"):
        log.info("note of %s: %s", "Dr. Okafor", NOTE)
        try:
            raise ValueError(NOTE)
        except ValueError:
            log.exception("failed on MRN: %s", "00123456")
    caplog.handler.removeFilter(masking)  # one handler for all tests
    for word in ("Whitfield", "00123456", "Okafor", "3/5/1960"):
        assert word not in caplog.text
    assert "ValueError" in caplog.text
    assert "chest pain" in caplog.text
    assert safe(safe(NOTE)) == safe(NOTE)


def test_a_year_alone_stays_unless_it_tells_an_age_over_89():
    text = "Appendectomy in 2012, born in 1921, seen on 03/12/2025."
    years = {"mask": "Appendectomy in 2012, born in [DATE], seen on [DATE]."}
    assert Deidentifier()(text).text == years["mask"]
    assert Deidentifier(policy=Policy(years=True))(text).text.startswith("Appendectomy in [DATE]")
