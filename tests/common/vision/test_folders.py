from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from common.errors import DataError, SchemaError
from common.vision.archive import check_folder
from common.vision.folders import read_folder
from common.vision.images import png


def surface(seed: int, shape: tuple[int, int] = (48, 40)) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 200, shape).astype(np.uint8)


def spot(shape: tuple[int, int] = (48, 40)) -> bytes:
    mask = np.zeros(shape, np.uint8)
    mask[5:9, 5:9] = 255
    return png(mask)


def simple(good: int = 6, folder: str = "good") -> dict[str, bytes]:
    """Good parts, two defective ones with a mask, one without."""
    files = {f"{folder}/{i:02}.png": png(surface(i)) for i in range(good)}
    files |= {f"hole/{i}.png": png(surface(100 + i)) for i in range(3)}
    return files | {f"masks/hole/{i}.png": spot() for i in range(2)}


def mvtec() -> dict[str, bytes]:
    files = {f"train/good/{i:03}.png": png(surface(i)) for i in range(5)}
    files |= {f"test/good/{i:03}.png": png(surface(50 + i)) for i in range(2)}
    files |= {f"test/hole/{i:03}.png": png(surface(100 + i)) for i in range(2)}
    return files | {f"ground_truth/hole/{i:03}_mask.png": spot() for i in range(2)}


def written(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def test_the_simple_layout(tmp_path):
    found = read_folder(written(tmp_path, simple()))
    assert found.name.tolist() == [f"good/{i:02}.png" for i in range(6)] + [f"hole/{i}.png" for i in range(3)]
    assert found.kind.tolist() == ["good"] * 6 + ["hole"] * 3
    assert not any(found.split)
    assert [None if mask is None else int(mask.sum()) for mask in found.mask] == [0] * 6 + [16, 16, None]
    assert all(np.array_equal(found.picture[i], surface(i)) for i in range(6))
    assert len(set(found.part)) == 9
    assert not found.left_out


def test_the_layout_of_mvtec(tmp_path):
    found = read_folder(written(tmp_path, mvtec()))
    assert found.split.tolist() == ["test"] * 4 + ["train"] * 5
    assert found.kind.tolist() == ["good"] * 2 + ["hole"] * 2 + ["good"] * 5
    assert [int(mask.sum()) for mask in found.mask if mask is not None] == [0, 0, 16, 16, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("name", ["good", "Good", "NORMAL", "ok"])
def test_names_of_the_folder_of_good_parts(tmp_path, name):
    assert (read_folder(written(tmp_path, simple(folder=name))).kind == "good").sum() == 6


@pytest.mark.parametrize("files", [simple(), mvtec()])
def test_an_archive_in_any_order_below_any_folder_is_the_folder(tmp_path, files):
    folder = read_folder(written(tmp_path / "x", files))
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        for name in sorted(files, reverse=True):
            member = tarfile.TarInfo(f"./export/2024/{name}")
            member.size = len(files[name])
            archive.addfile(member, io.BytesIO(files[name]))
    packed = read_folder(tmp_path / "x.tar.gz")
    assert packed.name.tolist() == folder.name.tolist()
    assert packed.sha256 == folder.sha256
    assert packed.part.tolist() == folder.part.tolist()


def test_the_fingerprint_follows_content_and_names(tmp_path):
    first = read_folder(written(tmp_path / "a", simple())).sha256
    moved = simple()
    moved["hole/9.png"] = moved.pop("hole/2.png")
    assert read_folder(written(tmp_path / "b", moved)).sha256 != first
    assert read_folder(written(tmp_path / "c", simple() | {"hole/2.png": png(surface(7))})).sha256 != first
    assert read_folder(written(tmp_path / "d", simple() | {"notes.txt": b"new"})).sha256 == first


def test_what_cannot_be_used_is_left_out_with_its_reason_and_the_rest_is_read(tmp_path):
    files = simple() | {
        "good/00.png": b"",
        "good/01.png": png(surface(1))[:200],
        "good/02.png": png(surface(1).astype(np.uint16)),
        "stray.png": png(surface(9)),
        "masks/hole/0.png": spot((40, 48)),
        "masks/hole/1.png": b"no mask",
        "masks/hole/7.png": spot(),
        "masks/good/03.png": spot(),
    }
    found = read_folder(written(tmp_path, files))
    assert found.name.tolist() == ["good/04.png", "good/05.png", "hole/2.png"]
    assert {one.file: one.reason for one in found.left_out} == {
        "good/00.png": "the file is empty: got 0 bytes, expected a picture.",
        "good/01.png": "the picture cannot be read (image file is truncated): expected a whole file.",
        "good/02.png": "unsupported mode: got I;16, expected 8 bits a channel, grey or RGB.",
        "good/03.png": "a good part, but its mask masks/good/03.png marks a defect.",
        "hole/0.png": "its mask masks/hole/0.png has another size: got 40 x 48 and 48 x 40 pixels, expected the same.",
        "hole/1.png": "its mask masks/hole/1.png cannot be used.",
        "masks/hole/1.png": "not a picture: got 7 bytes of something else, expected PNG, JPEG, BMP or TIFF.",
        "masks/hole/7.png": "a mask without its picture.",
        "stray.png": "outside the folders of kinds.",
    }


def test_near_duplicates_are_one_part(tmp_path):
    again = np.clip(surface(3) * 0.7 + 10, 0, 255).astype(np.uint8)
    found = read_folder(written(tmp_path, simple(20) | {"hole/9.png": png(again)}))
    same = found.part == found.part[found.name == "good/03.png"]
    assert found.name[same].tolist() == ["good/03.png", "hole/9.png"]
    assert not found.parts_known


def test_tiles_csv_says_which_pictures_show_one_part(tmp_path):
    names = sorted(name for name in simple() if not name.startswith("masks"))
    table = "file,part,shift\n" + "".join(f"{name},tile {i // 2},early\n" for i, name in enumerate(names))
    found = read_folder(written(tmp_path, simple() | {"tiles.csv": b"\xef\xbb\xbf" + table.encode()}))
    assert found.part.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert found.parts_known


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (b"", "cannot be used (the file is empty: got 0 bytes"),
        (b"picture;part\n", "other columns: got picture;part, expected file, part"),
        (b"file,part\n\xff", "not a CSV file in UTF-8 ("),
        (b"file,part\ngood/00.png,\n", "row 1: an empty cell"),
        (b"file,part\ngood/00.png,a\ngood/00.png,b\n", "row 2: one picture has two parts: got 'a' and 'b'"),
        (b"file,part\ngood/00.png,a\nmore,b\n", "pictures without a part: got 8 without, first good/01.png"),
    ],
)
def test_a_wrong_tiles_csv_is_named(tmp_path, table, sentence):
    with pytest.raises(SchemaError) as error:
        read_folder(written(tmp_path, simple() | {"tiles.csv": table}))
    assert sentence in str(error.value)
    assert str(error.value).startswith(f"{tmp_path}/tiles.csv")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"readme.txt": b"x"}, "no readable picture: expected PNG, JPEG, BMP or TIFF files."),
        (
            {"good/1.png": b""},
            "no readable picture: .*; the first of 1 that cannot be used is good/1.png: the file",
        ),
        (
            {"hole/1.png": png(surface(1))},
            "no pictures of good parts: got folders hole, expected a folder",
        ),
        ({"1.png": png(surface(1))}, "no pictures of good parts: got no folder of a kind"),
    ],
)
def test_what_stops_the_reading(tmp_path, files, sentence):
    with pytest.raises(DataError, match=sentence):
        read_folder(written(tmp_path, files))


def test_more_than_memory_should_hold_is_refused_and_can_still_be_audited(tmp_path, monkeypatch):
    monkeypatch.setattr("common.vision.folders.MOST_PIXELS", 4 * 48 * 40)
    written(tmp_path, simple())
    with pytest.raises(DataError, match=r"too much to hold in memory: got over 9,600 pixels, expected at most 7,680"):
        read_folder(tmp_path)
    found = read_folder(tmp_path, keep=False)
    assert (len(found), found.picture, found.shape[0]) == (9, [], (48, 40))


def test_the_audit_tells_what_would_spoil_a_number(tmp_path):
    files = {name.replace("train/good", "train/ok"): content for name, content in mvtec().items()}
    files |= {f"train/ok/1{i:02}.png": png(surface(200 + i)) for i in range(60)}
    files["test/good/001.png"] = files["train/ok/000.png"]
    files["test/hole/001.png"] = png(np.clip(surface(1) * 1.2, 0, 255).astype(np.uint8))
    files["train/ok/004.png"] = png(surface(4))[:100]
    files["train/ok/003.png"] = png(np.dstack([surface(3, (50, 50))] * 3))
    files["ground_truth/hole/000_mask.png"] = png(np.zeros((48, 40), np.uint8))
    files["license.txt"] = b"none"
    audit = check_folder(written(tmp_path, files))
    told = [f"{finding.level}: {finding.sentence}" for finding in audit.findings]
    assert told == [
        "warning: Kind hole has 2 pictures: too few to say how many are found.",
        "warning: The largest kind has 33 times as many pictures as the smallest: report every kind apart.",
        "warning: 4 of 68 pictures have a near-duplicate: the same part again? Split by part.",
        "warning: 2 of 4 test pictures have a near-duplicate in train, such as test/good/001.png: it flatters a model "
        "trained on it.",
        "warning: Is a label wrong? Groups of near-duplicates that hold several kinds: 1, such as test/hole/001.png, "
        "train/ok/001.png.",
        "warning: Masks of defective pictures that mark nothing: 1.",
        "warning: Left out train/ok/004.png: the picture cannot be read (image file is truncated): expected a whole "
        "file.",
        "note: 68 pictures: good 66, hole 2.",
        "note: 66 parts, 65 of them good (near-duplicates joined, for want of a tiles.csv).",
        "note: 2 of 2 defective pictures have a mask.",
        "note: The pictures have 2 sizes: 40 x 48 (67), 50 x 50 (1).",
        "note: The pictures have 2 modes: L (67), RGB (1).",
        "note: Not read, for no pictures by their name: 1, such as license.txt.",
    ]
    assert not audit.errors


def test_the_command_audits_a_path(tmp_path, capsys):
    from typer.testing import CliRunner

    from common.cli import app

    done = CliRunner().invoke(app, ["data", "check", str(written(tmp_path / "x", simple()))])
    assert done.exit_code == 0
    assert "note    9 pictures: good 6, hole 3.\n" in done.stdout
    assert done.stdout.endswith(f"{tmp_path}/x: no error in these pictures.\n")
    failed = CliRunner().invoke(app, ["data", "check", str(tmp_path / "nowhere")])
    assert isinstance(failed.exception, DataError)
