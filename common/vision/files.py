"""The files of a folder, tar or zip, one after the other: nothing is unpacked to disk, and one file is held at a time.

The names of a folder are listed first and a zip's are in its directory (about 100 and 500 bytes each); of a tar nothing
is kept.
"""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from common.errors import DataCorrupted, DataError, InvalidRequest
from common.vision.images import MOST_BYTES, check_bytes

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
TABLES = (".csv",)
BLOCK = 512
"""Of a tar."""


@dataclass(frozen=True)
class File:
    """A file by its path below the folder, with `/`; `refused` says why it was not read.

    What is not wanted by its name is not read either, and has no content.
    """

    name: str
    content: bytes = b""
    refused: str = ""

    @property
    def is_picture(self) -> bool:
        """By its name."""
        return self.name.lower().endswith(PICTURES)


def holds_files(source: Path) -> bool:
    """Whether this is a folder or, by its name, an archive."""
    return source.is_dir() or source.name.lower().endswith(ARCHIVES)


@contextmanager
def open_files(
    source: Path, wanted: tuple[str, ...] = PICTURES + TABLES
) -> Iterator[tuple[Iterator[File], Callable[[], float]]]:
    """The files, and the share of `source` read so far; those whose names end in `wanted` are read.

    Hidden files, and what macOS adds to a zip, are passed over.
    Links, devices, and members whose path is absolute or leads out of the archive are refused one by one. Raises
    `DataError` when there is no such folder or archive, and `DataCorrupted` while reading one that breaks off.
    """
    expected = "a folder or " + ", ".join(ARCHIVES)
    if not source.exists():
        raise DataError("no such folder or archive", where=str(source), expected=expected)
    if not holds_files(source):
        raise DataError("neither a folder nor an archive", where=str(source), expected=expected)
    if source.is_dir():
        names = list(_names(source))
        done = [0]
        yield _counted(_of_folder(source, names, wanted), done), lambda: done[0] / max(len(names), 1)
        return
    with source.open("rb") as raw:
        size = max(source.stat().st_size, 1)
        read = _of_zip if source.name.lower().endswith(".zip") else _of_tar
        yield _whole(source, raw, read(raw, wanted)), lambda: min(raw.tell() / size, 1.0)


def _names(folder: Path) -> Iterator[tuple[str, str]]:
    """Relative paths in order, each with why it is refused."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = Path(root).relative_to(folder)
        for name in folders:
            if (Path(root) / name).is_symlink():
                yield (relative / name).as_posix(), "a link to a folder is not followed."
        for name in sorted(files):
            if not name.startswith("."):
                yield (relative / name).as_posix(), ""


def _of_folder(folder: Path, names: list[tuple[str, str]], wanted: tuple[str, ...]) -> Iterator[File]:
    for name, refused in names:
        path = folder / name
        if refused or not name.lower().endswith(wanted):
            yield File(_printable(name), refused=refused)
            continue
        try:
            if not path.is_file():  # a pipe would wait for ever
                yield File(_printable(name), refused="neither a file nor a folder.")
                continue
            with path.open("rb") as file:
                yield read_file(name, path.stat().st_size, file)
        except OSError as error:
            yield File(_printable(name), refused=f"cannot be read ({error.strerror}).")


def _of_tar(raw: Any, wanted: tuple[str, ...]) -> Iterator[File]:
    with tarfile.open(fileobj=raw, mode="r:*") as tar:
        while member := tar.next():
            tar.members.clear()  # type: ignore[attr-defined]  # else it remembers every one
            name = member.name
            if member.isdir() or _hidden(name):
                continue
            if refused := _leads_out(name):
                yield File(_printable(name), refused=refused)
            elif not member.isfile():
                what = "a link" if member.issym() or member.islnk() else "neither a file nor a folder"
                yield File(_printable(name), refused=f"{what} in an archive is not followed.")
            elif not name.lower().endswith(wanted):
                yield File(_printable(name))
            else:
                yield read_file(name, member.size, tar.extractfile(member))
        # A damaged header ends the loop like the blocks of zeros that end a tar.
        file: Any = tar.fileobj
        if file.tell() < tar.offset + BLOCK or any(file.read(20 * BLOCK)):
            raise tarfile.ReadError("it ends without its end mark")


def _of_zip(raw: Any, wanted: tuple[str, ...]) -> Iterator[File]:
    with zipfile.ZipFile(raw) as archive:
        for member in archive.infolist():
            name = member.filename.replace("\\", "/")  # some Windows tools write these
            if name.endswith("/") or _hidden(name):
                continue
            if refused := _leads_out(name):
                yield File(_printable(name), refused=refused)
            elif stat.S_ISLNK(member.external_attr >> 16):
                yield File(_printable(name), refused="a link in an archive is not followed.")
            elif not name.lower().endswith(wanted):
                yield File(_printable(name))
            else:
                try:
                    with archive.open(member) as file:
                        yield read_file(name, member.file_size, file)
                # A wrong checksum, an unknown compression or a password concern this member alone.
                except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
                    yield File(_printable(name), refused=f"cannot be read ({error}).")


def read_file(name: str, size: int, file: Any) -> File:
    """One file, refused if it is larger than a picture may be, or a picture without content."""
    least = 0 if name.lower().endswith(PICTURES + TABLES) else 1
    try:
        check_bytes(max(size, least), "")
        content = file.read(MOST_BYTES + 1)  # a zip may hold more than it says
        check_bytes(max(len(content), least), "")
    except InvalidRequest as error:
        return File(_printable(name), refused=str(error))
    return File(_printable(name), content)


def _whole(source: Path, raw: Any, files: Iterator[File]) -> Iterator[File]:
    """Only what reading raises; the last file that came through is named."""
    last = "nothing"
    try:
        for file in files:
            last = file.name
            yield file
        raw.seek(0, os.SEEK_END)  # behind the members there is a zip's directory, a tar's padding
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        got = f"{last} as the last file" if last != "nothing" else "no file"
        reason = str(error).partition(":\n")[0]  # a tar that is none comes with a line for each compression
        raise DataCorrupted(f"the archive cannot be read to its end ({reason})", where=str(source), got=got) from None


def _counted(files: Iterator[File], done: list[int]) -> Iterator[File]:
    for file in files:
        done[0] += 1
        yield file


def _hidden(name: str) -> bool:
    """`.DS_Store`, `__MACOSX/._a.png`; not `./a.png` and not `../a.png`."""
    return any((part.startswith(".") and part.strip(".")) or part == "__MACOSX" for part in name.split("/"))


def _leads_out(name: str) -> str:
    if name.startswith("/"):
        return "an absolute path in an archive is refused."
    return "a path with .. in an archive is refused." if ".." in name.split("/") else ""


def _printable(name: str) -> str:
    """As it may be shown and written: without `./`, and what cannot be printed or is no UTF-8 as `?`."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(PurePosixPath(name)))
