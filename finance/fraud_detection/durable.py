"""The online state on disk: every row goes into a log before it counts, and a snapshot now and then shortens the log.

A row that was answered has been handed to the operating system, so it survives `kill -9`; it reaches the disk within
`SYNC_S` seconds, which is what a power cut can cost. The rows of one call are one frame of the log, and a frame that
was torn in the middle is cut off at the next start: none of its rows had been answered.

In the folder: `lock`, `definition.json`, `snapshot-<n>` and `log-<n>`, the rows since that snapshot. A new snapshot is
whole before the old pair is deleted, so a crash at any moment leaves one pair that has everything.
"""

from __future__ import annotations

import fcntl
import json
import logging
import mmap
import os
import struct
import threading
import zlib
from pathlib import Path

import numpy as np

from common.errors import DataCorrupted, UsageError
from common.files import sync, whole_file, write_whole
from finance.fraud_detection.definition import Definition
from finance.fraud_detection.online import LATENESS, MOST, ROW, Online, Rows, StateAway

logger = logging.getLogger("espalier.fraud")

SYNC_S = 0.1
SNAPSHOT_ROWS = 5_000_000
"""Rows in the log after which a snapshot is written. `take` waits for it, about 1 s per GB: call `snapshot` at a quiet
hour before."""
FRAME, MAGIC = struct.Struct("<4sII"), b"rows"
"""Before the rows of a frame: `MAGIC`, how many bytes they are, and their CRC-32."""
REPLAYED = 100_000
"""Rows replayed at a time."""
RESTORE = "bring back the folder's backup, or move it away and replay the history"


class Durable(Online):
    """`Online` in a folder of its own, which one process holds at a time."""

    def __init__(self, definition: Definition, folder: Path, lateness: int = LATENESS, most: int = MOST) -> None:
        """Go on where the folder ends. Raises `UsageError` when another process has it, it cannot be written or it is
        of another definition, `DataCorrupted` naming a snapshot or log that is damaged."""
        super().__init__(definition, lateness, most)
        self.folder, self._row = folder, _row(len(definition.entities))
        self._swapping, self._closing = threading.Lock(), threading.Event()
        self._unsynced = self._damaged = False
        self._number = self._logged = self._log = 0
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _locked(folder / "lock")
            try:
                self._recover()
            except BaseException:
                os.close(self._lock)
                raise
        except OSError as error:
            got = error.strerror or str(error)
            raise UsageError("the folder of the state cannot be used", where=str(folder), got=got) from error
        self._syncer = threading.Thread(target=self._sync_forever, daemon=True)
        self._syncer.start()

    def take(self, rows: Rows, *, counted: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """See `State`; the rows are in the log before they count, or `StateAway` is raised and none is taken."""
        if len(rows):
            self._append(rows)
        found = super().take(rows, counted=counted)
        if self._logged >= SNAPSHOT_ROWS:
            self._try_snapshot()
        return found

    def snapshot(self) -> None:
        """Write all of the state, begin a new log, and drop what is older. Raises `OSError` and changes nothing."""
        number = self._number + 1
        log = _opened(self.folder / f"log-{number}")
        try:
            arrays = {name: np.ascontiguousarray(array) for name, array in self.arrays().items()}
            told = {name: [array.dtype.str, array.shape, zlib.crc32(array.data)] for name, array in arrays.items()}
            with whole_file(self.folder / f"snapshot-{number}") as part, open(part, "wb") as file:
                file.write(json.dumps(told).encode() + b"\n")
                for array in arrays.values():
                    file.write(array.reshape(-1).view(np.uint8).data)
        except BaseException:
            os.close(log)
            raise
        with self._swapping:
            os.close(self._log)
            self._log, self._number, self._logged, self._damaged = log, number, 0, False
        self._delete_stale()

    def close(self) -> None:
        """Write a snapshot, so that the next start is quick, and let another process have the folder."""
        if not self._closing.is_set():
            self._closing.set()
            self._syncer.join()
            self._try_snapshot()
            os.close(self._log)
            os.close(self._lock)

    def _try_snapshot(self) -> None:
        """A snapshot, or an error on record: the log has everything and goes on, if need be for as long again."""
        try:
            self.snapshot()
        except OSError as error:
            self._logged = 0
            logger.error("no snapshot of the state in %s: %s", self.folder, error.strerror)

    def _append(self, rows: Rows) -> None:
        if rows.keys.shape != (len(rows), len(self.definition.entities)):
            raise ValueError(f"keys: got {rows.keys.shape}, expected (rows, {len(self.definition.entities)})")
        table = np.empty(len(rows), self._row)
        for name in ROW:
            table[name] = getattr(rows, name)
        content = table.tobytes()
        try:
            if self._damaged:
                self.snapshot()
            self._write(FRAME.pack(MAGIC, len(content), zlib.crc32(content)) + content)
        except OSError as error:
            fix = "free some space or repair the disk; nothing that was answered before is lost"
            got = error.strerror
            raise StateAway("the state cannot be written", where=str(self.folder), got=got, fix=fix) from error
        self._unsynced = True
        self._logged += len(rows)

    def _write(self, frame: bytes) -> None:
        """All of a frame, or nothing: behind half of one, the next would not be found again."""
        end, rest = os.fstat(self._log).st_size, memoryview(frame)
        try:
            while rest:
                rest = rest[os.write(self._log, rest) :]
        except BaseException:
            self._damaged = True
            os.ftruncate(self._log, end)
            self._damaged = False
            raise

    def _sync_forever(self) -> None:
        while not self._closing.wait(SYNC_S):
            if self._unsynced:
                self._unsynced = False
                with self._swapping:
                    try:
                        os.fdatasync(self._log)
                    except OSError as error:
                        # What of it is on the disk cannot be known now, so the next row waits for a snapshot of all.
                        self._damaged = True
                        logger.error("the log in %s does not reach the disk: %s", self.folder, error.strerror)

    def _recover(self) -> None:
        _same_definition(self.folder / "definition.json", self.definition)
        self._number = max(_numbers(self.folder, "snapshot"), default=0)
        for number in _numbers(self.folder, "log"):
            # A crash during `snapshot` leaves the next log, but nothing is in it before the snapshot is there.
            if number > self._number and (path := self.folder / f"log-{number}").stat().st_size:
                raise DataCorrupted("the snapshot before this log is missing", where=str(path), fix=RESTORE)
        if self._number:
            self._load(self.folder / f"snapshot-{self._number}")
        self._delete_stale()
        log = self.folder / f"log-{self._number}"
        self._logged = self._replay(log) if log.exists() and log.stat().st_size else 0
        self._log = _opened(log)
        sync(self.folder)

    def _load(self, path: Path) -> None:
        arrays: dict[str, np.ndarray] = {}
        try:
            with open(path, "rb") as file:
                for name, (kind, shape, crc) in json.loads(file.readline()).items():
                    arrays[name] = array = np.zeros(shape, np.dtype(kind))
                    read = file.readinto(array.reshape(-1).view(np.uint8).data)
                    if read != array.nbytes or zlib.crc32(array.data) != crc:
                        raise ValueError(name)
        except (ValueError, TypeError, AttributeError, MemoryError) as error:
            raise DataCorrupted("the snapshot is damaged", where=str(path), got=str(error), fix=RESTORE) from None
        self.restore(arrays)

    def _replay(self, path: Path) -> int:
        """Take in the rows of a log; what was torn at its end is cut off. Returns how many."""
        total, size, end = 0, 0, 0
        bodies: list[bytes] = []
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            while body := self._frame(content, end):
                bodies.append(body)
                size, end = size + len(body), end + FRAME.size + len(body)
                if size >= REPLAYED * self._row.itemsize:
                    total += self._again(bodies)
                    bodies, size = [], 0
            total += self._again(bodies)
            at = end
            while (at := content.find(MAGIC, at + 1)) >= 0:
                if self._frame(content, at):
                    fix = f"{RESTORE}, or cut it off at byte {end} and lose what follows"
                    raise DataCorrupted("the log is damaged in the middle", where=str(path), fix=fix)
            torn = len(content) - end
        if torn:
            os.truncate(path, end)
            logger.warning("%s: its last %d bytes are no whole frame, and were cut off", path, torn)
        return total

    def _frame(self, content: mmap.mmap, at: int) -> bytes:
        """The rows of the frame that begins there; b"" where none does, or it is not whole."""
        if at + FRAME.size > len(content):
            return b""
        magic, size, crc = FRAME.unpack_from(content, at)
        if magic != MAGIC or size % self._row.itemsize:
            return b""
        at += FRAME.size
        body = content[at : at + size]
        return body if len(body) == size and zlib.crc32(body) == crc else b""

    def _again(self, bodies: list[bytes]) -> int:
        table = np.frombuffer(b"".join(bodies), self._row)
        self._ingest(Rows(*(table[name].copy() for name in ROW)), counted=False)
        return len(table)

    def _delete_stale(self) -> None:
        """Everything but the newest snapshot and its log, such as what a crash left half written."""
        for kind in ("snapshot", "log"):
            for number in _numbers(self.folder, kind):
                if number != self._number:
                    (self.folder / f"{kind}-{number}").unlink(missing_ok=True)
        for part in self.folder.glob(".*.part"):
            part.unlink(missing_ok=True)


def _row(entities: int) -> np.dtype[np.void]:
    fields = {**ROW, "keys": (ROW["keys"], (entities,))}
    return np.dtype(list(fields.items()))


def _numbers(folder: Path, kind: str) -> list[int]:
    numbers = (path.name.removeprefix(f"{kind}-") for path in folder.glob(f"{kind}-*"))
    return [int(number) for number in numbers if number.isdecimal()]


def _opened(log: Path) -> int:
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _locked(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        fix = "stop it, give this one a folder of its own, or share the state by REDIS_URL"
        raise UsageError("another process keeps its state here", where=str(path.parent), fix=fix) from None
    return handle


def _same_definition(path: Path, definition: Definition) -> None:
    if not path.exists():
        write_whole(path, definition.counted)
    elif path.read_text() != definition.counted:
        fix = "move the folder away and replay the history, or serve the bundle it belongs to"
        raise UsageError("the state in this folder counts something else", where=str(path.parent), fix=fix)
