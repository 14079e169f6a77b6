from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", exc_type=ImportError)

from common.config import settings
from common.errors import ModelUnavailable
from common.files import sha256
from common.vision.weights import weight_file

CONTENT = b"weights of a small net"
FILE = f"small-{sha256(CONTENT)[:8]}.pth"
OTHER = CONTENT.replace(b"small", b"large")


@pytest.fixture
def places(machine, tmp_path):
    """Where the file may lie, in the order of the search."""
    return [tmp_path / "models" / FILE, tmp_path / "models" / "small" / FILE, tmp_path / "torch/hub/checkpoints" / FILE]


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def in_folder(path: Path) -> list[str]:
    return sorted(file.name for file in path.rglob("*") if file.is_file())


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_file_is_taken_from_its_place_without_a_connection(places, machine, server, place):
    machine(OFFLINE="true")
    put(places[place])
    assert weight_file("small", f"{server.url}/{FILE}") == places[place]
    assert server.asked == []


def test_the_own_folder_comes_before_the_hub_cache(places):
    put(places[2])
    put(places[1])
    assert weight_file("small", f"http://127.0.0.1:9/{FILE}") == places[1]
    put(places[0])
    assert weight_file("small", f"http://127.0.0.1:9/{FILE}") == places[0]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_file_with_another_hash_is_refused_and_named(places, server, place):
    server.answer = (200, len(CONTENT), CONTENT)
    put(places[place], OTHER)
    with pytest.raises(ModelUnavailable) as error:
        weight_file("small", f"{server.url}/{FILE}")
    sentence = f"{places[place]}: the weights are not those that the file's name promises: "
    sentence += f"got sha256 {sha256(OTHER)[:12]}…, expected {sha256(CONTENT)[:8]}…; delete it"
    assert str(error.value).startswith(sentence)
    assert server.asked == []


def test_it_is_downloaded_once_into_the_hub_cache(places, server):
    server.answer = (200, len(CONTENT), CONTENT)
    for _ in range(2):
        assert weight_file("small", f"{server.url}/models/{FILE}") == places[2]
    assert places[2].read_bytes() == CONTENT
    assert server.asked == [f"/models/{FILE}"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((404, 0, b""), "got HTTP 404"),
        ((200, len(CONTENT), CONTENT[:9]), "got 9 bytes before the connection was lost"),
        ((200, len(OTHER), OTHER), f"got sha256 {sha256(OTHER)[:12]}…, expected {sha256(CONTENT)[:8]}…"),
    ],
    ids=["not there", "connection lost", "other bytes"],
)
def test_a_bad_download_is_one_sentence_and_leaves_nothing(places, server, tmp_path, answer, words):
    server.answer = answer
    with pytest.raises(ModelUnavailable, match=words):
        weight_file("small", f"{server.url}/{FILE}")
    assert in_folder(tmp_path) == []


def test_offline_opens_no_connection_and_names_the_three_ways(places, machine, server):
    machine(OFFLINE="true")
    with pytest.raises(ModelUnavailable) as error:
        weight_file("small", f"{server.url}/{FILE}")
    sentence = f"small: {FILE}: the weights are in no folder, and ESPALIER_OFFLINE is set; put it into ESPALIER_MODELS "
    sentence += (
        f"({settings().models}), or at {places[2]}, or connect so that it is downloaded from {server.url}/{FILE}."
    )
    assert str(error.value) == sentence
    assert server.asked == []


def test_a_cache_that_cannot_be_written_is_one_sentence(places, server, tmp_path):
    server.answer = (200, len(CONTENT), CONTENT)
    (tmp_path / "torch").write_text("a file where the folder should be")
    with pytest.raises(ModelUnavailable, match=r"cannot write .*; free some space or set TORCH_HOME"):
        weight_file("small", f"{server.url}/{FILE}")
