"""A folder of one's own, from ingest to batch scoring: 40 simulated tiles, written as a user would keep them."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from common.cli import app
from common.config import build_config, settings
from common.errors import DataError, UsageError
from common.vision.images import decode_grey, png
from manufacturing.visual_inspection.config import PRESETS, Config
from manufacturing.visual_inspection.data import GOOD, load, located
from manufacturing.visual_inspection.evaluate import evaluate
from manufacturing.visual_inspection.simulator import simulate
from manufacturing.visual_inspection.train import train

TINY = ["crops.count=64", "crops.side=32", "segmenter.epochs=1", "bank.size=50", "bank.candidates=500", "scale=0.5"]
PROMISE = "false_alarms_per_1000=50"  # 23 good parts are left, and can


def config_of(folder: Path, *more: str) -> Config:
    return build_config(Config, PRESETS, "sample", [f"dataset={folder}", PROMISE, *TINY, *more])


@pytest.fixture(scope="module")
def tiles():
    """One exposure each of 28 good tiles and 12 defective ones: kind, picture, mask."""
    return [(kind, picture, mask) for kind, _, picture, mask in simulate(40, 3)[::2]]


@pytest.fixture(scope="module")
def folder(tiles, tmp_path_factory):
    """The simple layout; one picture is truncated, and one mask has another size."""
    root = tmp_path_factory.mktemp("own") / "tiles"
    for number, (kind, picture, mask) in enumerate(tiles):
        write(root / kind / f"{number}.png", png(picture))
        if mask is not None:
            write(root / "masks" / kind / f"{number}.png", png(np.where(mask, 255, 0).astype(np.uint8)))
    write(root / "good" / "truncated.png", png(tiles[-1][1])[:2000])
    [first, *_] = sorted((root / "masks").rglob("*.png"))
    write(first, png(np.zeros((64, 64), np.uint8)))
    return root


@pytest.fixture(scope="module")
def bundle(folder, tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("ESPALIER_HOME", str(tmp_path_factory.mktemp("home")))
        settings.cache_clear()
        made = train(config_of(folder))
    settings.cache_clear()
    return made


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_a_fifth_of_the_good_parts_and_every_defective_one_are_for_the_test(folder, capsys):
    data = load(config_of(folder))
    split = data.split("tile-disjoint", 0)
    assert (split["test"].kind == GOOD).sum() == 28 // 5
    assert split["test"].defective.sum() == 11  # one has no mask that fits
    assert sum(map(len, split.values())) == len(data) == 39
    warned = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: left out ")]
    assert [line.split()[3].rpartition("/")[2] for line in warned] == ["2.png:", "truncated.png:"]
    assert "another size" in warned[0]
    other = load(config_of(folder, "seed=1")).split("tile-disjoint", 1)
    assert set(other["test"].name) != set(split["test"].name)


def test_a_part_with_two_pictures_stays_on_one_side_and_a_good_one_of_a_defective_part_is_not_trained_on(
    tmp_path, tiles
):
    darker = [np.clip(picture * 0.7 + 9, 0, 255).astype(np.uint8) for _, picture, _ in tiles]
    for number, (kind, picture, _) in enumerate(tiles):
        write(tmp_path / kind / f"{number}.png", png(picture))
        write(tmp_path / GOOD / f"{number}-again.png", png(darker[number]))
    data = load(config_of(tmp_path))
    split = data.split("published-split", 0)
    numbers = [{name.rpartition("/")[2].partition("-")[0].partition(".")[0] for name in p.name} for p in split.values()]
    assert not numbers[0] & numbers[1]
    assert {str(number) for number, (kind, _, _) in enumerate(tiles) if kind != GOOD} <= numbers[1]


def test_mvtec_says_itself_what_is_for_the_test(tmp_path, tiles):
    good = [picture for kind, picture, _ in tiles if kind == GOOD]
    for number, picture in enumerate(good):
        write(tmp_path / ("test" if number < 4 else "train") / "good" / f"{number:03}.png", png(picture))
    write(tmp_path / "test" / "scratch" / "000.png", png(tiles[0][1]))
    split = load(config_of(tmp_path)).split("tile-disjoint", 0)
    assert split["test"].name.tolist() == [*(f"test/good/{i:03}.png" for i in range(4)), "test/scratch/000.png"]
    assert split["test"].mask[-1] is None
    assert len(split["train"]) == 24


@pytest.mark.parametrize(
    ("kinds", "sentence"),
    [
        ([GOOD] * 19, "too few good parts: got 19 parts in 19 good pictures (near-duplicates count as one, tiles.csv"),
        ([GOOD] * 12 + ["bad"] * 9, "too few good parts: got 12 parts in 12 good pictures"),
        (["bad"] * 21, "there are no pictures of good parts: got folders bad, expected a folder of good parts, named"),
    ],
)
def test_too_few_good_parts_are_counted(tmp_path, tiles, kinds, sentence):
    good = [picture for kind, picture, _ in tiles if kind == GOOD]
    for number, (kind, picture) in enumerate(zip(kinds, good, strict=False)):
        write(tmp_path / kind / f"{number}.png", png(picture))
    with pytest.raises(DataError) as error:
        load(config_of(tmp_path))
    assert str(error.value).startswith(f"{tmp_path}: {sentence}")


def test_a_data_set_that_is_neither_known_nor_a_path_is_refused_with_what_is():
    with pytest.raises(DataError, match=r"tiles: no such data set: expected magnetic-tile, tiles-simulated, or the pa"):
        load(config_of(Path("tiles")))


def test_the_bundle_records_what_was_left_out_and_that_nothing_is_simulated(bundle, folder):
    data = bundle.json("data.json")
    assert not data["simulated"]
    assert data["cards"][0]["id"] == "own:tiles"
    assert [one["reason"].partition(" (")[0] for one in data["left_out"]][1:] == ["the picture cannot be read"]
    assert "another size" in data["left_out"][0]["reason"]


def test_a_bundle_of_ones_own_pictures_is_evaluated_on_them_and_refused_on_others(bundle, folder, tmp_path):
    report, _ = evaluate(bundle)
    assert (report.dataset, report.simulated, report.published) == ("own:tiles", False, [])
    assert {"image_auroc", "aupro"} <= set(report.metrics)
    assert sum(part.metrics["image_auroc"].n for part in report.slices) == 11
    hidden = folder / "hidden"
    kept = next(path for path in (folder / GOOD).iterdir() if f"good/{path.name}" in set(load_test(folder).name))
    kept.rename(hidden)
    try:
        with pytest.raises(DataError, match="the test part is not the one that training kept closed"):
            evaluate(bundle)
    finally:
        hidden.rename(kept)
    before = kept.read_bytes()
    kept.write_bytes(png(255 - decode_grey(before, "kept")))
    try:
        with pytest.raises(DataError, match="own:tiles: the pictures have changed since training"):
            evaluate(bundle)
    finally:
        kept.write_bytes(before)


def test_a_relative_path_is_found_again_from_elsewhere(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert located(folder.name) == str(folder.resolve())
    assert located("magnetic-tile") == "magnetic-tile"


def test_a_promise_that_so_few_parts_cannot_keep_is_refused_before_anything_is_trained(folder, monkeypatch):
    monkeypatch.setattr("manufacturing.visual_inspection.fit.FIT", {})
    with pytest.raises(UsageError, match=r"23 good parts cannot promise this rate of false alarms: got 0.01, expected"):
        train(config_of(folder, "false_alarms_per_1000=10"))


def load_test(folder: Path):
    return load(config_of(folder)).split("tile-disjoint", 0)["test"]


def test_without_masks_and_without_defects_there_is_no_number_that_means_nothing(
    folder, tmp_path, monkeypatch, request
):
    request.addfinalizer(settings.cache_clear)
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    own = shutil.copytree(folder, tmp_path / "own")
    shutil.rmtree(own / "masks")
    report, _ = evaluate(train(config_of(own)))
    assert "image_auroc" in report.metrics
    assert not {"pixel_auroc", "aupro"} & (set(report.metrics) | set(report.floor))
    for kind in own.iterdir():
        if kind.name != GOOD:
            shutil.rmtree(kind)
    bundle = train(config_of(own))
    with pytest.raises(DataError, match="own:own: the test part needs good parts and defective ones"):
        evaluate(bundle)


def test_a_folder_is_scored_into_a_table_with_its_maps_and_a_bad_picture_is_a_row(bundle, folder, tmp_path):
    maps, out = tmp_path / "maps", tmp_path / "out.csv"
    done = CliRunner().invoke(
        app, ["score", str(bundle.path), str(folder / GOOD), str(out), "--pictures", str(maps)], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert f"28 rows scored into {out}\n1 of 29 left out, the column error says why\n" in done.stderr
    with out.open(newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert rows["truncated.png"]["error"].startswith("picture: the picture cannot be read (image file is truncated")
    assert rows["truncated.png"]["score"] == ""
    fine = [row for row in rows.values() if not row["error"]]
    assert all((row["defective"] == "true") == (float(row["score"]) > float(row["threshold"])) for row in fine)
    assert sorted(path.name for path in maps.iterdir()) == sorted(f"{row['file']}.heat_map.png" for row in fine)
