from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import BaseModel, Field

from common.config import Strict
from common.errors import DataError, InvalidRequest
from common.vision.images import decode_grey, from_base64, png, to_base64
from common.vision.score import TOGETHER, score_pictures


class Ask(Strict):
    picture: str = Field(max_length=40_000)


class Light(BaseModel):
    bright: bool
    mean: float
    note: str | None = None
    sides: list[int]
    inverse: str = Field(json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/png"})


class Lightmeter:
    """Says how light a picture is; refuses black ones only when it looks at them."""

    request, response = Ask, Light

    def __init__(self) -> None:
        self.batches: list[int] = []

    def request_of(self, content: bytes) -> Ask:
        return Ask(picture=to_base64(content))

    def predict(self, batch: Sequence[Ask]) -> list[Light]:
        self.batches.append(len(batch))
        return [self._measure(decode_grey(from_base64(ask.picture, "picture"), "picture")) for ask in batch]

    def _measure(self, grey: np.ndarray) -> Light:
        if not grey.any():
            raise InvalidRequest("all black", where="picture")
        mean = float(grey.mean())
        return Light(bright=mean > 100, mean=mean, sides=list(grey.shape), inverse=to_base64(png(255 - grey)))


def flat(value: int) -> bytes:
    return png(np.full((40, 50), value, np.uint8))


def score(source: Path, target: Path, predictor=None, pictures=None):
    return score_pictures(predictor or Lightmeter(), source, target, lambda rows, share: None, pictures)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "in"
    files = {f"a/{i:02}.png": flat(10 * i) for i in range(1, 20)}
    files |= {"b/black.png": flat(0), "b/cut.png": flat(9)[:70], "b/large.png": flat(9) + bytes(40_000), "c.txt": b"x"}
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def rows_in(target: Path) -> list[dict]:
    if target.suffix == ".parquet":
        return pq.read_table(target).to_pylist()
    if target.suffix == ".jsonl":
        return [json.loads(line) for line in target.read_text().splitlines()]
    return pa_csv.read_csv(target, convert_options=pa_csv.ConvertOptions(strings_can_be_null=False)).to_pylist()


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("rows", [4, 1024])
def test_every_picture_is_a_row_and_a_bad_one_is_a_row_with_its_reason(tmp_path, folder, kind, rows, monkeypatch):
    monkeypatch.setattr("common.vision.score.ROWS", rows)
    predictor = Lightmeter()
    assert score(folder, tmp_path / f"out.{kind}", predictor) == (22, 3)
    rows = {row["file"]: row for row in rows_in(tmp_path / f"out.{kind}")}
    assert list(rows) == sorted(rows)
    assert list(rows["a/11.png"]) == ["file", "bright", "mean", "note", "error"]
    assert (rows["a/11.png"]["bright"], rows["a/11.png"]["mean"], rows["a/11.png"]["error"]) == (True, 110, "")
    assert {name: row["error"] for name, row in rows.items() if row["error"]} == {
        "b/black.png": "picture: all black.",
        "b/cut.png": "picture: the picture cannot be read (image file is truncated): expected a whole file.",
        "b/large.png": "picture: String should have at most 40000 characters.",
    }
    assert rows["b/black.png"]["mean"] is None
    assert max(predictor.batches) == TOGETHER


def test_pictures_in_the_answers_become_files(tmp_path, folder):
    score(folder, tmp_path / "out.csv", pictures=tmp_path / "maps")
    made = sorted(path.relative_to(tmp_path / "maps").as_posix() for path in (tmp_path / "maps").rglob("*.png"))
    assert made == [f"a/{i:02}.png.inverse.png" for i in range(1, 20)]
    with Image.open(tmp_path / "maps" / "a" / "03.png.inverse.png") as picture:
        assert np.asarray(picture)[0, 0] == 225


def test_an_archive_that_would_write_elsewhere_writes_nowhere(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("../../out.png", "/tmp/out.png", "fine.png"):
            archive.writestr(name, flat(50))
    assert score(tmp_path / "x.zip", tmp_path / "out.jsonl", pictures=tmp_path / "deep" / "maps") == (3, 2)
    assert [row["error"] for row in rows_in(tmp_path / "out.jsonl")] == [
        "a path with .. in an archive is refused.",
        "an absolute path in an archive is refused.",
        "",
    ]
    assert [path.name for path in tmp_path.rglob("*.png")] == ["fine.png.inverse.png"]


def test_nothing_to_score_leaves_nothing_behind(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="no picture to score"):
        score(tmp_path / "in", tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path, suffix):
    import tarfile

    content = png(np.random.default_rng(0).integers(1, 255, (120, 120)).astype(np.uint8))

    def peak(count: int) -> int:
        source = tmp_path / f"{count}{suffix}"
        if suffix == ".zip":
            with zipfile.ZipFile(source, "w") as archive:
                for i in range(count):
                    archive.writestr(f"{i}.png", content)
        else:
            with tarfile.open(source, "w") as archive:
                for i in range(count):
                    member = tarfile.TarInfo(f"{i}.png")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        tracemalloc.start()
        score(source, tmp_path / "out.csv")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(8)  # what is loaded at the first use
    small, large = peak(40), peak(400)
    assert large - small < 36 * len(content)  # a tenth of what came in addition


class Counter:
    """Counts the lines of texts."""

    suffixes = (".txt", ".log")

    class response(BaseModel):
        lines: int
        each: list[int]

    def request_of(self, content: bytes) -> str:
        if not content:
            raise InvalidRequest("nothing in it")
        return content.decode()

    def predict(self, batch: Sequence[str]) -> list[BaseModel]:
        return [self.response(lines=text.count("\n"), each=list(map(len, text.split("\n")))) for text in batch]


def test_other_files_are_scored_too_with_all_of_their_answer(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for name, content in {"a.txt": "ab\nc", "b.LOG": "x", "c.png": "x", "d.txt": ""}.items():
        (source / name).write_text(content)
    assert score(source, tmp_path / "out.jsonl", Counter()) == (3, 1)
    rows = rows_in(tmp_path / "out.jsonl")
    assert [row["file"] for row in rows] == ["a.txt", "b.LOG", "d.txt"]
    assert (rows[0]["lines"], json.loads(rows[0]["each"]), rows[0]["error"]) == (1, [2, 1], "")
    assert rows[2]["error"] == "nothing in it."
    assert score(source / "a.txt", tmp_path / "one.csv", Counter()) == (1, 0)
    assert rows_in(tmp_path / "one.csv")[0]["lines"] == 1
    with pytest.raises(DataError, match=r"no such folder or archive"):
        score(tmp_path / "absent.txt", tmp_path / "none.csv", Counter())
