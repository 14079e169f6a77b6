import itertools
import re

import pytest

from common.errors import SchemaError
from healthcare.medical_records.assertion import assertions_of
from healthcare.medical_records.evaluate_assertion import ANNOTATIONS, CONTEXT, evaluate_assertion, read_rows
from healthcare.medical_records.sections import sections
from healthcare.medical_records.sentences import LONGEST, sentences
from healthcare.medical_records.spans import Assertion


def said(marked: str) -> Assertion:
    """What is said of the concept in square brackets."""
    found = re.search(r"\[(.+?)\]", marked)
    assert found is not None
    text = marked[: found.start()] + found[1] + marked[found.end() :]
    return assertions_of(text, [(found.start(), found.start() + len(found[1]))])[0]


@pytest.mark.parametrize(
    "text",
    [
        "CT of the chest is negative for [pneumonia].",
        "He had no further [chest pain] during the stay.",
        "[Fever]: none",
        "The patient denies:\n- fever\n- [chills]\n",
        "No reported [seizures].",
        "The [spleen] could not be palpated.",
        "Seen at 10:30, denies at 12:30 any [chest pain].",
        "ROS: [fever] (-), cough (+)",
        "Denies fever, chills or [night sweats].",
        "No masses, no [edema].",
        "There was no [change in vision].",
        "[Chest pain] was denied.",
        "The patient doesn't have [diabetes].",
        "His [pneumonia], which has since resolved, was mild.",
        "[Pulmonary embolism] ruled out.",
        "Neither [fever] nor chills.",
        "She had no CHILLS, [RIGORS] or sweats.",
        "未见[胸腔积液]。",
        "否认高血压，[糖尿病]，冠心病病史。",
        "无发热、[咳嗽]，伴腹痛。",
        "双肺未闻及[干湿性啰音]。",
        "[发热]：无",
        "[压痛]阴性。",
        "[压痛]、反跳痛阴性。",
        "[胸腔积液]未见。",
        "[发热]（-），咳嗽（+）",
        "[Fever], no. Cough, yes.",
        "Neg for [DVT].",
        "She was not found to have a [fracture].",
        "Nothing to suggest [meningitis].",
        "Unlikely to be [pneumonia].",
        "并非[肺炎]。",
        "不考虑[肺炎]。",
    ],
)
def test_denied(text: str) -> None:
    assert said(text).negated


@pytest.mark.parametrize(
    "text",
    [
        "Fever: none; [cough]: yes",
        "Fever, no. [Cough], yes.",
        "The patient denies:\n- fever\nPlan: treat [cough].",
        "ROS: fever (-), [cough] (+)",
        "No fever, but [cough].",
        "He presented with [chest pain], troponins were negative.",
        "No cyanosis, 2+ [edema].",
        "Her [hypertension] is not well controlled.",
        "Not only [fever] was seen.",
        "Gram negative [sepsis].",
        "No significant change in the [effusion].",
        "CT THORAX WITHOUT CONTRAST CLINICAL HISTORY: [LIVER TRANSPLANT].",
        "无发热、咳嗽，伴[腹痛]。",
        "患者无明显诱因出现[胸痛]。",
        "无腹胀、腹泻,今日行肠镜检查,发现[结肠息肉]。",
        "彩超提示:[胆囊结石],直径约1.2cm(未见报告)。",
        "术后病理:[腺癌],侵及肌层,断端阴性。",
        "四肢[无力]。",
        "发热（-），[咳嗽]（+）",
    ],
)
def test_not_denied(text: str) -> None:
    assert not said(text).negated


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("Possible [pneumonia].", "uncertain", True),
        ("Rule out [pulmonary embolism].", "uncertain", True),
        ("[Malignancy] cannot be excluded.", "uncertain", True),
        ("[肺癌]不除外。", "uncertain", True),
        ("考虑[肺炎]。", "uncertain", True),
        ("? [pneumonia]", "uncertain", True),
        ("Doubt [pulmonary embolism].", "uncertain", True),
        ("[肺炎]证据不足。", "uncertain", True),
        ("[结肠癌]切除,复发可能。", "uncertain", False),
        ("因[阑尾炎],后行手术,术后恢复可。", "temporality", "recent"),
        ("No [pneumonia], possible effusion.", "uncertain", False),
        ("History of [asthma].", "temporality", "historical"),
        ("A two day history of [cough].", "temporality", "recent"),
        ("PAST MEDICAL HISTORY: [gout], anemia.", "temporality", "historical"),
        ("既往史：[肺结核]。", "temporality", "historical"),
        ("Return if [fever] develops.", "temporality", "hypothetical"),
        ("如出现[发热]及时就诊。", "temporality", "hypothetical"),
        ("Mother with [breast cancer].", "experiencer", "family"),
        ("Family History: [diabetes].", "experiencer", "family"),
        ("父亲患[肺癌]。", "experiencer", "family"),
        ("母亲患有[糖尿病]。", "experiencer", "family"),
        ("Patient has [asthma].", "experiencer", "patient"),
    ],
)
def test_doubt_time_and_person(text: str, field: str, value: object) -> None:
    assert getattr(said(text), field) == value


def test_a_doubt_is_no_denial() -> None:
    assert not said("Cannot rule out [pneumonia].").negated


def test_a_dictionary_term_means_itself() -> None:
    text = "She is not in labor force."
    place = [(7, 25)]
    assert assertions_of(text, place)[0].negated
    assert not assertions_of(text, place, inside=False)[0].negated


def test_no_concepts_and_no_text() -> None:
    assert assertions_of("Fever.", []) == []
    assert assertions_of("   ", []) == []


def test_sentences_keep_places_and_abbreviations() -> None:
    text = (
        "Dr. Smith saw him. Temp 38.5. Takes aspirin 81 mg p.o. daily.\n1. Chest pain\n- no fever\n患者发热。无咳嗽；"
    )
    found = sentences(text)
    assert all(text[one.start : one.end] == one.text for one in found)
    assert [one.text for one in found][:3] == ["Dr. Smith saw him.", "Temp 38.5.", "Takes aspirin 81 mg p.o. daily."]
    assert "".join("".join(one.text.split()) for one in found) == "".join(text.split())
    assert [one.text for one in found][-2:] == ["患者发热。", "无咳嗽；"]


def test_a_wrapped_line_is_one_sentence() -> None:
    text = "The patient denies any chest pain, shortness of breath or\nfever today.\n\nPlan\n"
    assert len(sentences(text)) == 2


def test_what_never_ends_is_cut_between_words() -> None:
    text = "no fever, chills and cough, " * 300 + "x" * 4000
    found = sentences(text)
    assert max(len(one.text) for one in found) <= LONGEST
    assert "".join("".join(one.text.split()) for one in found) == "".join(text.split())
    assert found[0].text.endswith((",", "fever", "and", "chills", "cough"))


def test_sections_touch_and_cover() -> None:
    text = "intro\n# Chief Complaint\n- Fever\nPMH: DM, HTN. FH: CAD\n【查体】\n心肺正常\n既往史：无。"
    found = sections(text)
    assert [one.kind for one in found] == [
        "other",
        "chief_complaint",
        "past_history",
        "family_history",
        "exam",
        "past_history",
    ]
    assert found[0].start == 0
    assert found[-1].end == len(text)
    assert all(left.end == right.start for left, right in itertools.pairwise(found))


def test_evaluation_by_half_and_whole(tmp_path) -> None:
    first = ["1\tfever\tNo FEVER.\tNegated", "2\tcough\tHas COUGH.\tAffirmed", "7\trash\tNo RASH.\tNegated"]
    first += ["8\tgout\tHas GOUT.\tAffirmed", "9\tfever\tNo FEVER.\tNegated"]
    second = [
        f"{line}\t{when}\tPatient" for line, when in zip(first, ["Recent", "Historical"] + 3 * ["Recent"], strict=True)
    ]
    for name, lines in ((ANNOTATIONS, first), (CONTEXT, second)):
        (tmp_path / name).write_bytes("\r\n".join(["head", *lines, ""]).encode("latin-1"))
    scores = evaluate_assertion({name: tmp_path / name for name in (ANNOTATIONS, CONTEXT)})
    assert scores["all"]["f1"].value == 1
    assert scores["all"]["f1"].n == 5
    assert scores["unseen"]["f1"].n == 2  # of reports 7 to 9, less the sentence that report 1 has too
    assert scores["written_on"]["f1"].n == 2
    assert scores["temporality"]["recall"].value == 0


def test_a_bad_row_is_named(tmp_path) -> None:
    path = tmp_path / ANNOTATIONS
    path.write_text("head\n1\tfever\tNo FEVER.\tMaybe\n")
    with pytest.raises(SchemaError, match="line 2"):
        read_rows(path)


@pytest.mark.parametrize(
    "text",
    [
        "Patient has no fever, possible pneumonia.",
        "There is possible pneumonia.",
        "HPI: Chest pain, possible pneumonia. Denies fever.",
        "He has cough, likely pneumonia",
    ],
)
def test_doubt_holds_where_its_word_ends_another_scope_too(text: str) -> None:
    (said,) = assertions_of(text, [(text.index("pneumonia"), text.index("pneumonia") + 9)], inside=False)
    assert (said.uncertain, said.negated) == (True, False)
