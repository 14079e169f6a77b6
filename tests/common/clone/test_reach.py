"""Reach is read from syntax trees, in every form in which a module is named."""

from __future__ import annotations

import pytest

from common.clone.reach import Code, reach

FILES = {
    "frame/__init__.py": "",
    "frame/a.py": "import frame.b",
    "frame/b.py": "",
    "frame/deep/__init__.py": "from frame.c import x",
    "frame/deep/d.py": "",
    "frame/c.py": "x = 1",
    "frame/lazy.py": "def f():\n    from frame import b\n    return b",
    "frame/relative.py": "from .deep import d",
    "frame/record.py": 'ROOM = "frame"\nrecord = dict(train=f"{ROOM}.b:train")',
    "frame/child.py": 'run([python, "-m", "frame.b"])',
    "frame/code.py": "run('import sys; from frame.b import y; print(y)')",
    "frame/typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from frame.b import B",
    "frame/told.py": '"""See frame.b."""\n\n\ndef f():\n    """frame.b is another."""',
    "frame/round.py": "import frame.trip",
    "frame/trip.py": "import frame.round",
    "frame/words.py": 'text = "the frame. b is not meant, nor frame.bark"',
}
KNOWN = {code.module: code for code in (Code(path, text.encode()) for path, text in FILES.items())}


@pytest.mark.parametrize(
    ("root", "reached"),
    [
        ("frame.a", {"frame.b"}),
        ("frame.b", set()),
        ("frame.deep.d", {"frame.deep", "frame.c"}),
        ("frame.lazy", {"frame.b"}),
        ("frame.relative", {"frame.deep", "frame.deep.d", "frame.c"}),
        ("frame.record", {"frame.b"}),
        ("frame.child", {"frame.b"}),
        ("frame.code", {"frame.b"}),
        ("frame.typed", {"frame.b"}),
        ("frame.told", set()),
        ("frame.round", {"frame.trip"}),
        ("frame.words", set()),
        ("frame.absent", set()),
    ],
)
def test_what_a_module_reaches(root: str, reached: set[str]) -> None:
    found = reach([root], KNOWN)
    assert found == reached | {"frame", root} & set(KNOWN)
