from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from streams import LATENESS, SMALL, drawn

from common.errors import DataCorrupted, UsageError
from finance.fraud_detection import durable
from finance.fraud_detection.durable import Durable
from finance.fraud_detection.kernels import NEW, SAME, WAITING
from finance.fraud_detection.online import Online, Rows, StateAway

STREAM = drawn(20)
HALF = len(STREAM.rows) // 2
EXPECTED = Online(SMALL, LATENESS).take(STREAM.rows)


def opened(folder: Path) -> Durable:
    return Durable(SMALL, folder, LATENESS)


def part(start: int | None, end: int | None) -> Rows:
    return STREAM.rows.part(slice(start, end))


def crash(state: Durable) -> None:
    """Leave everything as `kill -9` does: nothing is written, the lock is free."""
    state._closing.set()
    state._syncer.join()
    os.close(state._log)
    os.close(state._lock)


def same(one: Online, other: Online) -> bool:
    return all((a == b).all() for a, b in zip(one.memory, other.memory, strict=True))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file may become larger: a real error of the system, after part of what is written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("ends", [["crash"], ["close"], ["crash", "close", "crash", "crash", "close"]])
def test_a_restart_changes_nothing(ends, tmp_path):
    counts, became, ends = [], [], ends * 9
    state = opened(tmp_path)
    for number, rows in enumerate(STREAM.parts()):
        if number % 3 == 2:
            (crash if ends.pop() == "crash" else Durable.close)(state)
            state = opened(tmp_path)
        for list_, found in zip((counts, became), state.take(rows), strict=True):
            list_.append(found)
    assert (np.concatenate(became) == EXPECTED[1]).all()
    transaction = STREAM.rows.fraud < 0
    assert (np.concatenate(counts) == EXPECTED[0])[transaction].all()
    assert state.refused["same"] <= np.count_nonzero(EXPECTED[1] == SAME)  # a replay refuses nothing again
    state.close()
    state.close()
    assert files(tmp_path) == ["definition.json", "lock", *files_of(state)]


def files_of(state: Durable) -> list[str]:
    return [f"log-{state._number}"] + [f"snapshot-{state._number}"] * (state._number > 0)


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from streams import LATENESS, SMALL, drawn
from finance.fraud_detection import durable
durable.SNAPSHOT_ROWS = int(sys.argv[3])
state = durable.Durable(SMALL, Path(sys.argv[1]), LATENESS)
rows = drawn(20, 12_000).rows
print("ready", flush=True)
for i in range(len(rows)):
    state.take(rows.part(slice(i, i + 1)))
    print(i, flush=True)
"""


@pytest.mark.parametrize(("snapshot_rows", "answers"), [(10**6, [1, 2_000]), (25, [60, 131])])
def test_kill_9_loses_no_row_that_was_answered(snapshot_rows, answers, tmp_path):
    """The child writes more answers than a pipe holds, so it cannot be done before it is killed."""
    rows = drawn(20, 12_000).rows
    command = [sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parent), str(snapshot_rows)]
    for many in answers:
        shutil.rmtree(tmp_path)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            assert child.stdout.readline() == "ready\n"
            for _ in range(many):
                answered = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            rest = child.stdout.read().split("\n")[:-1]
            answered = int(rest[-1]) if rest else answered
        assert child.returncode == -signal.SIGKILL
        assert answered < len(rows) - 1
        state = opened(tmp_path)
        for taken in (answered + 1, answered + 2):  # the one in flight may be there or not, but not by half
            expected = Online(SMALL, LATENESS)
            expected.take(rows.part(slice(taken)))
            if same(state, expected):
                break
        else:
            raise AssertionError(f"after {answered} answers the state is neither with nor without the next row")
        later = rows.part(slice(taken, None))
        assert (state.take(later)[0] == expected.take(later)[0]).all()
        crash(state)


def test_a_crash_at_every_step_of_a_snapshot_loses_nothing(tmp_path):
    """A child dies before the first, second, ... thing that a snapshot does to the file system."""
    template, step, died = tmp_path / "template", 0, True
    state = opened(template)
    state.take(part(None, HALF))
    state.snapshot()
    state.take(part(HALF, HALF + 40))
    crash(state)
    steps = set()
    while died:
        folder = tmp_path / str(step)
        shutil.copytree(template, folder)
        child = os.fork()
        if child == 0:
            state = opened(folder)
            left = step

            def hook(event: str, arguments: tuple) -> None:
                nonlocal left
                if event in ("open", "os.rename", "os.remove", "os.chmod"):
                    if left == 0:
                        os._exit(9)
                    left -= 1

            sys.addaudithook(hook)
            state.snapshot()
            os._exit(0)
        died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        steps.add(tuple(files(folder)))
        state = opened(folder)
        assert files(folder) == ["definition.json", "lock", *files_of(state)]
        counts, became = state.take(part(HALF + 40, None))
        assert (became == EXPECTED[1][HALF + 40 :]).all()
        assert (counts == EXPECTED[0][HALF + 40 :])[STREAM.rows.fraud[HALF + 40 :] < 0].all()
        crash(state)
        step += 1
    assert step > 6
    assert any(".part" in name for names in steps for name in names)
    assert any("snapshot-1" in names and "snapshot-2" in names for names in steps)


def test_a_frame_that_was_torn_counts_not_at_all(tmp_path, caplog):
    state = opened(tmp_path)
    state.take(part(None, HALF))
    whole = (tmp_path / "log-0").stat().st_size
    state.take(part(HALF, HALF + 10))
    crash(state)
    content, before = (tmp_path / "log-0").read_bytes(), Online(SMALL, LATENESS)
    before.take(part(None, HALF))
    for end in range(whole, len(content), 7):
        (tmp_path / "log-0").write_bytes(content[:end])
        state = opened(tmp_path)
        assert same(state, before)
        assert (tmp_path / "log-0").stat().st_size == whole
        crash(state)
    assert "no whole frame" in caplog.text
    for torn in (b"\0" * 50, content[whole:-3] + b"abc", os.urandom(500)):  # what a power cut may leave
        (tmp_path / "log-0").write_bytes(content[:whole] + torn)
        state = opened(tmp_path)
        assert same(state, before)
        state.take(part(HALF, HALF + 10))
        crash(state)
        assert (tmp_path / "log-0").read_bytes() == content


def test_damage_is_told_and_not_cut_off(tmp_path):
    state = opened(tmp_path)
    for rows in STREAM.parts():
        state.take(rows)
    crash(state)
    log = tmp_path / "log-0"
    content = bytearray(log.read_bytes())
    for place in (0, 5, 9, 14, 200):
        damaged = content.copy()
        damaged[place] ^= 1
        log.write_bytes(damaged)
        with pytest.raises(DataCorrupted, match=r"log-0: the log is damaged in the middle; .*cut it off at byte 0"):
            opened(tmp_path)
        assert log.read_bytes() == damaged
    log.write_bytes(content)
    state = opened(tmp_path)
    state.close()

    snapshot = tmp_path / "snapshot-1"
    content = bytearray(snapshot.read_bytes())
    damaged = content.copy()
    damaged[len(content) // 2] ^= 1
    for bad in (content[:-1], content[:10], b"", b"[]\n" + content, b'{"a": 3}\n', damaged):
        snapshot.write_bytes(bad)
        with pytest.raises(DataCorrupted, match="snapshot-1: the snapshot is damaged"):
            opened(tmp_path)
    snapshot.unlink()
    (tmp_path / "log-1").write_bytes(b"rows")
    with pytest.raises(DataCorrupted, match="log-1: the snapshot before this log is missing"):
        opened(tmp_path)


def test_a_label_that_waits_survives_log_and_snapshot(tmp_path):
    label = int(np.flatnonzero(EXPECTED[1] == WAITING)[0])
    transaction = int(np.flatnonzero((STREAM.rows.id == STREAM.rows.id[label]) & (STREAM.rows.fraud < 0))[0])
    state = opened(tmp_path)
    state.take(part(label, label + 1))
    for end in (crash, Durable.close):
        end(state)
        state = opened(tmp_path)
        assert state.size["waiting_labels"] == 1
    assert state.take(part(transaction, transaction + 1))[1].tolist() == [NEW]
    assert state.memory.fraud[0] == STREAM.rows.fraud[label]
    crash(state)
    state = opened(tmp_path)
    assert state.size["waiting_labels"] == 0
    assert state.memory.fraud[0] == STREAM.rows.fraud[label]
    crash(state)


def test_a_folder_is_for_one_process_and_one_definition(tmp_path):
    state = opened(tmp_path)
    with pytest.raises(UsageError, match=r"another process keeps its state here; .*REDIS_URL"):
        opened(tmp_path)
    command = [sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parent), "99"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "UsageError" in told.stderr
    assert "another process" in told.stderr
    state.close()
    with pytest.raises(UsageError, match="counts something else"):
        Durable(SMALL.model_copy(update={"deepest": 7}), tmp_path)
    opened(tmp_path).close()  # whoever was refused has not kept the lock
    Durable(SMALL.model_copy(update={"calendar": False}), tmp_path, LATENESS).close()  # counts the same


def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file: the folder of the state cannot be used"):
        opened(tmp_path / "file")
    with pytest.raises(UsageError, match="got Not a directory"):
        opened(tmp_path / "file" / "below")


def test_a_full_disk_refuses_rows_and_keeps_those_before(tmp_path):
    state = opened(tmp_path)
    state.take(part(None, HALF))
    size = (tmp_path / "log-0").stat().st_size
    for room in (0, 5, 100):
        with disk_of(size + room):
            with pytest.raises(StateAway, match=r"the state cannot be written: got File too large; free some space"):
                state.take(part(HALF, HALF + 20))
            assert (tmp_path / "log-0").stat().st_size == size
    assert (state.take(part(HALF, None))[1] == EXPECTED[1][HALF:]).all()
    with disk_of(10_000), pytest.raises(OSError, match="File too large"):
        state.snapshot()
    crash(state)
    again = opened(tmp_path)
    assert same(again, state)
    with disk_of(10_000):
        again.close()  # what is in the log needs no snapshot
    assert files(tmp_path) == ["definition.json", "lock", "log-0", "log-1"]
    last = opened(tmp_path)
    assert same(last, state)
    last.close()


def test_an_automatic_snapshot_that_fails_fails_no_row(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(durable, "SNAPSHOT_ROWS", 100)
    state = opened(tmp_path)
    with disk_of(100_000):
        state.take(part(None, HALF))
    assert "no snapshot of the state" in caplog.text
    assert files(tmp_path) == ["definition.json", "lock", "log-0", "log-1"]
    state.take(part(HALF, None))
    assert files(tmp_path) == ["definition.json", "lock", "log-1", "snapshot-1"]
    crash(state)
    again = opened(tmp_path)
    assert same(again, state)
    crash(again)


def test_a_log_that_does_not_reach_the_disk_is_replaced_by_a_snapshot(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(durable, "SYNC_S", 0.01)
    asked = []

    def broken(handle: int) -> None:
        asked.append(handle)
        raise OSError(5, "Input/output error")

    state = opened(tmp_path)
    monkeypatch.setattr(os, "fdatasync", broken)
    state.take(part(None, HALF))
    until = time.monotonic() + 10
    while not state._damaged and time.monotonic() < until:
        time.sleep(0.01)
    monkeypatch.undo()
    assert asked
    assert "does not reach the disk: Input/output error" in caplog.text
    with disk_of(10_000), pytest.raises(StateAway):
        state.take(part(HALF, None))
    state.take(part(HALF, None))
    assert files(tmp_path) == ["definition.json", "lock", "log-1", "snapshot-1"]
    crash(state)
    again = opened(tmp_path)
    assert same(again, state)
    crash(again)


def test_nothing_is_no_frame(tmp_path):
    state = opened(tmp_path)
    state.take(part(0, 0))
    state.take(part(None, HALF))
    state.take(part(0, 0))
    with pytest.raises(ValueError, match="keys"):
        state.take(Rows(*(np.zeros(1),) * 4, np.zeros((1, 3))))
    crash(state)
    again = opened(tmp_path)
    assert same(again, state)
    crash(again)
