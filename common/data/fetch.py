"""The files of a data set, verified: cache, then mirror, then the card's url."""

from __future__ import annotations

import shutil
from pathlib import Path

from common.config import settings
from common.data.card import DataFile, DatasetCard, beside
from common.download import CutOff, Unreachable, download
from common.errors import DataCorrupted, DataError, DatasetUnavailable
from common.files import sha256, whole_file


def fetch(card: DatasetCard) -> dict[str, Path]:
    """Paths of the card's files by name, every one checked against its size and sha256.

    Looks in the cache, beside the card, in `ESPALIER_DATA_MIRROR`, then at the card's url; a damaged file in the cache
    is fetched anew. Raises `DatasetUnavailable` when no source has the file and `DataCorrupted` when one gives
    other bytes than the card promises; neither leaves anything behind.
    """
    return {file.path: _fetch(card, file) for file in card.files}


def cached(card: DatasetCard, file: DataFile) -> Path:
    """Where the cache keeps a file."""
    return settings().home / "data" / card.id / file.path


def data_sha256(card: DatasetCard) -> str:
    """One fingerprint of all files of a data set: the sha256 of their names and hashes."""
    lines = sorted(f"{file.sha256}  {file.path}\n" for file in card.files)
    return sha256("".join(lines).encode())


def _fetch(card: DatasetCard, file: DataFile) -> Path:
    target = cached(card, file)
    damage = None
    if target.is_file():
        try:
            _verify(card, file, target, str(target))
            return target
        except DataCorrupted as error:
            damage = error
    tried = []
    for source in _sources(card, file):
        try:
            with whole_file(target) as part:
                _obtain(card, file, source, part)
            return target
        except Unreachable as reason:
            tried.append(f"{source} ({reason})")
        except OSError as error:
            fix = "free some space or set ESPALIER_HOME to a folder that can be written"
            raise DataError(f"cannot write ({error})", where=str(target), fix=fix) from error
    if damage:
        raise damage
    if settings().offline:
        tried.append("no download, because ESPALIER_OFFLINE is set")
    raise DatasetUnavailable(
        f"{file.path} is not cached and no source has it",
        where=card.id,
        got=", ".join(tried),
        fix=f"set ESPALIER_DATA_MIRROR to a folder or URL laid out as <id>/<file>, or connect and run "
        f"`espalier data get {card.id}`, or put the file at {target}",
    )


def _sources(card: DatasetCard, file: DataFile) -> list[str]:
    """Beside the card, mirror, then url; offline leaves only folders."""
    mirror = settings().data_mirror.rstrip("/")
    sources = [*map(str, beside(card, file)), *([f"{mirror}/{card.id}/{file.path}"] if mirror else [])]
    sources += [file.url] if file.url else []
    return [source for source in sources if not (settings().offline and _remote(source))]


def _remote(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _obtain(card: DatasetCard, file: DataFile, source: str, part: Path) -> None:
    if _remote(source):
        try:
            download(source, part, file.path)
        except CutOff as error:
            raise _corrupted(card, file, "the file is truncated", source, str(error)) from None
    else:
        try:
            original = Path(source).expanduser().open("rb")
        except OSError as error:
            raise Unreachable(error.strerror) from None
        with original, part.open("wb") as copy:
            shutil.copyfileobj(original, copy)
    _verify(card, file, part, source)


def _verify(card: DatasetCard, file: DataFile, path: Path, source: str) -> None:
    size, digest = path.stat().st_size, sha256(path)
    if (size, digest) != (file.bytes, file.sha256):
        what = "the file is truncated" if size < file.bytes else "the file is not the one the card names"
        raise _corrupted(card, file, what, source, f"{size} bytes with sha256 {digest}")


def _corrupted(card: DatasetCard, file: DataFile, what: str, source: str, got: str) -> DataCorrupted:
    return DataCorrupted(
        f"{what} ({source})",
        where=f"{card.id}/{file.path}",
        got=got,
        expected=f"{file.bytes} bytes with sha256 {file.sha256}",
        fix=f"run `espalier data get {card.id}` again, or set ESPALIER_DATA_MIRROR to a copy you trust",
    )
