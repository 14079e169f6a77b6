from __future__ import annotations

import pytest

from common.config import settings
from common.data import fetch
from common.data.fetch import cached
from common.errors import DataCorrupted, DataError, DatasetUnavailable


@pytest.fixture
def server(server, content):
    """It has the file."""
    server.answer = (200, len(content), content)
    return server


@pytest.fixture
def mirror(tmp_path, setting, content):
    """A folder mirror that has the file."""
    folder = tmp_path / "mirror"
    (folder / "people").mkdir(parents=True)
    (folder / "people" / "people.csv").write_bytes(content)
    setting("DATA_MIRROR", folder)
    return folder


def at(card, url):
    """The card with another url."""
    return card.model_copy(update={"files": (card.files[0].model_copy(update={"url": f"{url}/people.csv"}),)})


def in_cache():
    """Every file under the home folder, temporary ones too."""
    return sorted(path.name for path in settings().home.rglob("*") if path.is_file())


def test_a_folder_mirror_is_copied_into_the_cache_once(people_card, mirror, content):
    path = fetch(people_card)["people.csv"]
    assert path == cached(people_card, people_card.files[0])
    assert path.read_bytes() == content
    (mirror / "people" / "people.csv").unlink()
    assert fetch(people_card)["people.csv"] == path
    assert in_cache() == ["people.csv"]


def test_a_web_mirror_is_laid_out_by_id_and_comes_before_the_url(people_card, server, setting, content):
    setting("DATA_MIRROR", f"{server.url}/data/")
    assert fetch(people_card)["people.csv"].read_bytes() == content
    assert server.asked == ["/data/people/people.csv"]


@pytest.mark.parametrize("mirror", ["/no/such/folder", "http://127.0.0.1:9"])
def test_a_mirror_without_the_file_leads_to_the_url(people_card, server, setting, mirror, content):
    setting("DATA_MIRROR", mirror)
    assert fetch(at(people_card, server.url))["people.csv"].read_bytes() == content
    assert server.asked == ["/people.csv"]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda content: (200, len(content), content[:20]), "truncated"),
        (lambda content: (200, 20, content[:20]), "truncated"),
        (lambda content: (200, len(content), content.replace(b"red", b"rod")), "not the one the card names"),
    ],
    ids=["connection lost", "short file", "other bytes"],
)
def test_a_bad_download_is_refused_and_leaves_nothing(people_card, server, answer, sentence, content):
    server.answer = answer(content)
    with pytest.raises(DataCorrupted, match=sentence) as error:
        fetch(at(people_card, server.url))
    assert f"got {len(server.answer[2])} bytes" in str(error.value)
    assert f"expected {len(content)} bytes with sha256 {people_card.files[0].sha256}" in str(error.value)
    assert "espalier data get people" in str(error.value)
    assert in_cache() == []


def test_a_damaged_mirror_is_refused_not_skipped(people_card, mirror, server, content):
    (mirror / "people" / "people.csv").write_bytes(content[:-1])
    with pytest.raises(DataCorrupted, match="truncated"):
        fetch(at(people_card, server.url))
    assert in_cache() == []


def test_a_damaged_cache_is_fetched_anew(people_card, mirror, content):
    path = fetch(people_card)["people.csv"]
    path.write_bytes(content.replace(b"red", b"rod"))
    assert fetch(people_card)["people.csv"].read_bytes() == content


def test_a_damaged_cache_without_a_source_is_refused_and_kept(people_card, setting):
    setting("OFFLINE", "true")
    path = cached(people_card, people_card.files[0])
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    with pytest.raises(DataCorrupted, match="truncated"):
        fetch(people_card)
    assert path.read_bytes() == b"mine"


def test_missing_everywhere_names_the_three_ways(people_card, server, setting):
    server.answer = (404, 0, b"")
    setting("DATA_MIRROR", server.url)
    with pytest.raises(DatasetUnavailable) as error:
        fetch(people_card)
    text = str(error.value)
    assert "HTTP 404" in text
    assert "ESPALIER_DATA_MIRROR" in text
    assert "espalier data get people" in text
    assert str(cached(people_card, people_card.files[0])) in text
    assert in_cache() == []


def test_offline_opens_no_connection_but_reads_a_folder(people_card, server, setting, tmp_path, mirror, content):
    setting("OFFLINE", "true")
    assert fetch(people_card)["people.csv"].read_bytes() == content
    setting("HOME", tmp_path / "another")
    setting("DATA_MIRROR", server.url)
    with pytest.raises(DatasetUnavailable, match="ESPALIER_OFFLINE"):
        fetch(at(people_card, server.url))
    assert server.asked == []


def test_a_cache_that_cannot_be_written_is_one_sentence(people_card, mirror, setting, tmp_path):
    (tmp_path / "blocked").write_text("a file where the folder should be")
    setting("HOME", tmp_path / "blocked")
    with pytest.raises(DataError, match="ESPALIER_HOME"):
        fetch(people_card)
