from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from common.errors import DataCorrupted, DataError
from common.vision.files import open_files

CONTENTS = {"a/1.png": b"one", "a/2.JPG": b"two" * 1000, "b/tiles.csv": b"file,part\n", "b/notes.txt": b"not read"}


def read(source: Path) -> dict[str, bytes | str]:
    """Content by name, or why it was refused."""
    with open_files(source) as (files, share):
        found = {file.name: file.refused or file.content for file in files}
        assert share() == 1
    return found


def pack(target: Path, contents: dict[str, bytes]) -> Path:
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
        return target
    with tarfile.open(target, "w" if target.suffix == ".tar" else "w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return target


def unpack(target: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)
    return target


@pytest.mark.parametrize("kind", ["folder", "x.tar", "x.tar.gz", "x.tgz", "x.zip"])
def test_folder_and_archives_give_the_same_files_and_leave_nothing_on_disk(tmp_path, kind):
    source = (unpack if kind == "folder" else pack)(tmp_path / kind, CONTENTS)
    before = sorted(tmp_path.rglob("*"))
    assert read(source) == CONTENTS | {"b/notes.txt": b""}
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", ["x.tar", "x.tar.gz", "x.zip"])
def test_a_path_that_leads_out_of_an_archive_is_refused_and_the_rest_is_read(tmp_path, kind):
    names = ["/etc/1.png", "../1.png", "a/../../1.png", "./a/./1.png", "__MACOSX/._1.png", "a/.hidden.png"]
    found = read(pack(tmp_path / kind, dict.fromkeys(names, b"x")))
    assert found == {
        "/etc/1.png": "an absolute path in an archive is refused.",
        "../1.png": "a path with .. in an archive is refused.",
        "a/../../1.png": "a path with .. in an archive is refused.",
        "a/1.png": b"x",
    }


def test_links_and_devices_are_not_followed(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind in (("a.png", tarfile.SYMTYPE), ("b.png", tarfile.LNKTYPE), ("c.png", tarfile.FIFOTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, str(tmp_path / "secret.png")
            archive.addfile(member)
    link = "a link in an archive is not followed."
    device = "neither a file nor a folder in an archive is not followed."
    assert read(tmp_path / "x.tar") == {"a.png": link, "b.png": link, "c.png": device}
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped:
        entry = zipfile.ZipInfo("a.png")
        entry.external_attr = 0o120777 << 16
        zipped.writestr(entry, str(tmp_path / "secret.png"))
    assert read(tmp_path / "x.zip") == {"a.png": link}
    folder = unpack(tmp_path / "folder", {"a/1.png": b"x"})
    os.mkfifo(folder / "pipe.png")
    (folder / "loop").symlink_to(folder)
    (folder / "own.png").symlink_to(folder / "a/1.png")
    (folder / "gone.png").symlink_to(folder / "nothing")
    assert read(folder) == {
        "loop": "a link to a folder is not followed.",
        "a/1.png": b"x",
        "gone.png": "neither a file nor a folder.",
        "own.png": b"x",
        "pipe.png": "neither a file nor a folder.",
    }


@pytest.mark.parametrize("kind", ["folder", "x.tar", "x.zip"])
def test_empty_files_and_huge_ones_are_refused_unread(tmp_path, kind, monkeypatch):
    monkeypatch.setattr("common.vision.images.MOST_BYTES", 2000)
    contents = {"1.png": b"", "2.png": bytes(2001), "3.png": bytes(2000)}
    found = read((unpack if kind == "folder" else pack)(tmp_path / kind, contents))
    assert found == {
        "1.png": "the file is empty: got 0 bytes, expected a picture.",
        "2.png": "the file is too large: got 2,001 bytes, expected at most 2,000; make it smaller.",
        "3.png": bytes(2000),
    }


def test_a_member_of_a_zip_that_is_damaged_or_locked_does_not_stop_the_rest(tmp_path):
    source = pack(tmp_path / "x.zip", {"1.png": b"first" * 99, "2.png": b"second" * 99})
    raw = bytearray(source.read_bytes())
    raw[40] ^= 255
    source.write_bytes(raw)
    found = read(source)
    assert str(found["1.png"]).startswith("cannot be read (")
    assert found["2.png"] == b"second" * 99
    raw = bytearray(pack(source, {"1.png": b"x"}).read_bytes())
    for at in (6, raw.index(b"PK\1\2") + 8):
        raw[at] |= 1  # encrypted
    source.write_bytes(raw)
    assert "password required" in read(source)["1.png"]


@pytest.mark.parametrize("kind", ["x.tar", "x.tar.gz", "x.zip"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.4, 0.6, 0.9])
def test_an_archive_that_breaks_off_is_an_error_and_not_a_smaller_one(tmp_path, kind, share):
    noise = {f"{i}.png": os.urandom(3000) for i in range(9)}
    source = pack(tmp_path / kind, noise)
    whole = source.read_bytes()
    kept = int(share * (len(whole) if kind != "x.tar" else 9 * 3584 + 1))  # behind the last file a tar has only zeros
    source.write_bytes(whole[:kept])
    with pytest.raises(DataCorrupted, match=rf"{kind}: the archive cannot be read to its end \(.*\): got "):
        read(source)


def test_a_tar_cut_between_two_files_or_with_a_damaged_header_is_an_error_too(tmp_path):
    whole = pack(tmp_path / "x.tar", CONTENTS).read_bytes()
    for broken in (whole[:1024], whole[:1024] + b"?" + whole[1025:]):
        (tmp_path / "y.tar").write_bytes(broken)
        with pytest.raises(DataCorrupted, match=r"end mark\): got a/1\.png as the last file"):
            read(tmp_path / "y.tar")


def test_names_that_cannot_be_shown_are_cleaned(tmp_path):
    found = read(pack(tmp_path / "x.tar", {"a\x1b[2J\n.png": b"x", "b\udcff.png": b"y"}))
    assert found == {"a?[2J?.png": b"x", "b?.png": b"y"}


def test_what_is_no_folder_or_archive_is_refused(tmp_path):
    (tmp_path / "x.rar").write_bytes(b"Rar!")
    with pytest.raises(DataError, match=r"x\.rar: neither a folder nor an archive: expected a folder or \.tar, "):
        read(tmp_path / "x.rar")
    with pytest.raises(DataError, match=r"nowhere: no such folder or archive"):
        read(tmp_path / "nowhere")
