from __future__ import annotations

import numpy as np
import pytest

from common.data.card import load_card
from common.data.check import check_any
from common.errors import AuditError, DataError, SchemaError
from healthcare.disease_diagnosis import data as room
from healthcare.disease_diagnosis.config import Config
from healthcare.disease_diagnosis.data import OFFICIAL, Pictures, check_labels, load
from healthcare.disease_diagnosis.knowledge import BREAST, CHEST, FINDINGS, FURTHER, HEART
from healthcare.disease_diagnosis.simulator import simulate


def labels(diseased: int, healthy: int) -> np.ndarray:
    return np.repeat([True, False], [diseased, healthy])


def test_cleveland_s_own_labels_pass():
    check_labels(labels(139, 164), "cleveland")


@pytest.mark.parametrize(("diseased", "healthy"), [(165, 138), (164, 139), (526, 499)])
def test_copies_with_inverted_labels_are_named_by_their_counts(diseased, healthy):
    with pytest.raises(
        AuditError, match=rf"heart.csv: the labels are inverted.*diseased {diseased}, healthy {healthy}"
    ):
        check_labels(labels(diseased, healthy), "heart.csv")


def test_a_copy_that_lost_patients_is_refused_without_calling_it_inverted():
    with pytest.raises(AuditError, match="other labels than the source's: got diseased 137, healthy 160"):
        check_labels(labels(137, 160), "heart.csv")


def test_breast_cancer_needs_no_file_and_malignant_is_the_event(home):
    found = load(Config(dataset=BREAST))
    assert (found.y.sum(), len(found)) == (212, 569)
    assert found.findings == ("benign", "malignant")
    assert found.frame["worst_area"][found.y == 1].mean() > 2 * found.frame["worst_area"][found.y == 0].mean()


@pytest.mark.usefixtures("real_data")
def test_four_centres_have_the_labels_of_the_source_and_nothing_measured_is_zero():
    found = load(Config(dataset=HEART))
    counts = {str(site): found.y[found.site == site].tolist().count(1) for site in np.unique(found.site)}
    assert counts == {"cleveland": 139, "hungary": 106, "switzerland": 115, "va": 149}
    assert found.frame["chol"].min() > 50
    assert found.frame["chol"][found.site == "switzerland"].isna().all()
    assert found.frame["thal"][found.site == "hungary"].map(lambda word: word is None).sum() == 266
    assert set(found.frame["sex"]) == {"female", "male"}
    assert check_any(HEART)[1] == "uci-heart-disease: 920 rows agree with the card."


@pytest.mark.usefixtures("real_data")
def test_grades_are_those_of_angiography_and_a_centre_that_wrote_none_is_left_out():
    found = load(Config(dataset=HEART, target="severity"))
    grades = {str(site): np.bincount(found.y[found.site == site]).tolist() for site in np.unique(found.site)}
    told = {"cleveland": [164, 55, 36, 35, 13], "switzerland": [8, 48, 32, 30, 5], "va": [51, 56, 41, 42, 10]}
    assert grades == told
    assert len(found.findings) == 5


@pytest.mark.usefixtures("real_data")
def test_findings_of_later_examinations_are_asked_of_what_is_known_before_them():
    found = load(Config(dataset=HEART, target="findings"))
    assert [field.name for field in found.fields] == ["age", "sex", "cp", "trestbps", "chol", "fbs", "restecg"]
    asked = found.questions()
    assert [part.findings for part in asked.values()] == [FINDINGS[HEART], *FURTHER.values()]
    assert len(asked[""]) == 920
    assert np.bincount(asked["exang"].y).tolist() == [528, 337]
    assert np.bincount(asked["thal"].y).tolist() == [196, 238]
    assert set(asked["exang"].rows(asked["exang"].site == "hungary").y) == {0, 1}


@pytest.mark.parametrize("dataset", [BREAST, "chest-simulated"])
def test_another_target_than_the_one_label_of_a_data_set_is_refused(dataset):
    with pytest.raises(DataError, match=f"{dataset}: one label alone is known: got severity, expected target=disease"):
        load(Config(dataset=dataset, target="severity"))


@pytest.mark.usefixtures("real_data")
def test_the_official_pictures_come_from_two_altered_copies():
    found = load(Config(dataset=CHEST))
    counts = {name: tuple(np.bincount(found.y[found.part == name]).tolist()) for name in OFFICIAL}
    assert counts == OFFICIAL
    split = found.split()
    assert len(split["train"]) < 4708  # what stands in val too is left out
    assert not {p.tobytes() for p in split["train"].picture} & {p.tobytes() for p in split["test"].picture}
    assert len(check_any(CHEST)[0].findings) == 8


def test_one_copy_alone_is_not_the_official_split(tmp_path):
    parts = {}
    for name, (normal, ill) in {"train": (388, 3494), "val": (135, 389), "test": (234, 390)}.items():
        parts[f"{name}_images"] = np.zeros((normal + ill, 28, 28), np.uint8)
        parts[f"{name}_labels"] = np.repeat([0, 1], [normal, ill])[:, None]
    path = tmp_path / "copy.npz"
    np.savez(path, **parts)
    card = load_card(CHEST)
    with pytest.raises(AuditError, match=r"pneumoniamnist, part train.*not the official split: got \(388, 3494\)"):
        room._pictures(card, {file.path: path for file in card.files})


def test_a_split_keeps_the_centre_apart_and_never_mixes_train_and_test(patients):
    split = patients.split("cleveland", 0)
    assert list(split) == ["train", "test", "elsewhere"]
    assert not set(split["train"].row) & set(split["test"].row)
    assert set(split["train"].site) == set(split["test"].site) == {"cleveland"}
    assert len(split["train"]) + len(split["test"]) + len(split["elsewhere"]) == len(patients)


def test_pictures_that_stand_in_a_later_part_leave_train():
    picture, y = simulate(6, 0)
    picture[4] = picture[0]
    part = np.array(["train", "train", "train", "val", "val", "test"], object)
    split = Pictures("x", picture, y, part, ("a", "b"), "", "", "").split()
    assert [len(split[name]) for name in ("train", "val", "test")] == [2, 2, 1]


def test_the_simulator_repeats_with_its_seed():
    (first, y), (again, _), (other, _) = simulate(50, 3), simulate(50, 3), simulate(50, 4)
    assert (first == again).all()
    assert (first != other).any()
    assert 0.3 < y.mean() < 0.9


def copy_of(diseased: int, healthy: int, header: str = "") -> str:
    ill, well = "63,1,4,145,233,1,2,150,0,2.3,3,0,6,1", "37,0,3,130,250,0,0,187,0,3.5,1,?,3,0"
    return "\n".join([*([header] if header else []), *[ill] * diseased, *[well] * healthy]) + "\n"


def test_a_csv_of_one_s_own_is_refused_by_name_when_its_labels_are_inverted(tmp_path):
    path = tmp_path / "heart.csv"
    path.write_text(
        copy_of(165, 138, "age,sex,cp,trestbps,chol,fbs,restecg,thalach,exang,oldpeak,slope,ca,thal,target")
    )
    with pytest.raises(AuditError, match=r"heart.csv: the labels are inverted"):
        load(Config(dataset=str(path)))


def test_a_right_copy_is_loaded_and_recoded_levels_are_refused(tmp_path):
    path = tmp_path / "heart.csv"
    path.write_text(copy_of(139, 164))
    found = load(Config(dataset=str(path)))
    assert found.y.sum() == 139
    assert found.frame["ca"].isna().sum() == 164
    path.write_text(copy_of(139, 164).replace("63,1,4", "63,1,0"))
    with pytest.raises(SchemaError, match=r"cp: 139 bad cells"):
        load(Config(dataset=str(path)))
    with pytest.raises(DataError, match="cannot be read"):
        load(Config(dataset=str(tmp_path / "absent.csv")))
