"""`espalier new --blank`: an empty system that passes `espalier check`, made of the example plug-in by renaming."""

from __future__ import annotations

import keyword
import re
import shutil
import tempfile
import tomllib
from importlib.util import find_spec
from pathlib import Path

from common.clone.create import appear, vacant
from common.clone.git import File, Tree, checkout
from common.clone.pyproject import with_system
from common.clone.records import verticals
from common.errors import UsageError
from common.files import write_whole
from common.system import GROUP, discover

NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
IMPORTS = re.compile(r"(?:^from common.* import .*\n|^from \S+ import .*\n)+", re.MULTILINE)
IGNORED = b"__pycache__/\n*.egg-info/\n.venv/\nbuild/\n"
LEFT = {"benchmarks", "build", "common", "datasets", "deploy", "docs", "examples", "tests"}
# What the example says of its own field, and what stands there instead until somebody says what it is.
WORDS = {
    "say whether a field needs water within three days": "to be said in one line what it does",
    "Say whether a field needs water within three days": "To be said in one line: what it does",
    "Does a field need water within three days? Four measurements in, a probability out: a third party's system, as "
    "small as\none with all rooms gets. Nothing in Espalier knows of it; `pip install` is all it takes.": "To be said: "
    "which question it answers, for whom, and what hangs on the answer.",
    "A third party's system: ": "A new system: ",
    "A third party's Espalier system: does a field need water?": "An Espalier system.",
    "binary classification (drought stress) on a table": "binary classification on a table",
    "minimal: advice to a farmer": "to be assessed",
    "Simulated fields (`data.py`)": "Simulated rows (`data.py`)",
    "simulated fields. The": "simulated rows. The",
    "dry, hot and long without rain means drought stress": "the first and third lower the chance, the others raise it",
    "of drought stress within three days": "of the event",
    "drought stress": "the event",
    "It has never seen a real field.": "It has never seen real data.",
    "Minimal: it advises, a person waters.": "To be assessed: who is affected by a wrong answer, and how?",
    "Water in the soil, per cent by volume": "First input",
    "Mean temperature forecast, degrees Celsius": "Second input",
    "Mean relative humidity forecast, per cent": "Third input",
    "Days since the last rain": "Fourth input",
    "soil_moisture": "first",
    "temperature": "second",
    "humidity": "third",
    "days_without_rain": "fourth",
    "needs_water": "event",
}


def new_blank(name: str, target: Path | None) -> list[str]:
    """Write an empty system, as a plug-in package into a new folder or into this repository; returns what to do next.

    Raises `UsageError` for a bad or taken name, a folder that is not empty, or without a repository; nothing that is
    there is overwritten but `pyproject.toml` and `.dockerignore`, which get the new system's lines.
    """
    root = checkout()
    _check(name, root)
    vertical, _, system = name.partition(".")
    if target is not None:
        target = vacant(target, root)
        package = _renamed(root, name, f"espalier_{system}", ".")
        appear(target, package | {".gitignore": File(IGNORED)}, f"An empty system, {name}")
        return [f"pip install -e {target}", f"espalier check {name}"]
    made: Tree = {}
    for path, file in _renamed(root, name, name, f"'.[{vertical}]'").items():
        folder, _, rest = path.partition("/")
        if folder == name:
            made[f"{vertical}/{system}/{rest}"] = file
        elif path == "README.md":
            made[f"{vertical}/{system}/README.md"] = file
        elif path == "tests/test_data.py":
            made[f"tests/{vertical}/{system}/test_data.py"] = file
    if not (root / vertical / "service.py").exists():
        made |= _service(root, vertical)
    _add(root, made, name)
    return [f"pip install -e '.[{vertical}]'", f"espalier check {name}"]


def _check(name: str, root: Path) -> None:
    if not NAME.fullmatch(name) or any(keyword.iskeyword(part) for part in name.split(".")):
        expected = "vertical.system in small letters, such as crops.yield_forecast"
        raise UsageError("not a name for a system", got=repr(name), expected=expected)
    vertical, _, system = name.partition(".")
    taken = name in discover() or (root / vertical / system).exists() or (root / "tests" / vertical / system).exists()
    foreign = not (root / vertical / "service.py").exists() and vertical not in {n.split(".")[0] for n in discover()}
    if taken or vertical in LEFT or (foreign and ((root / vertical).exists() or find_spec(vertical))):
        raise UsageError("this name is taken", got=repr(name if taken else vertical), expected="another one")


def _renamed(root: Path, name: str, package: str, installed: str) -> Tree:
    """The example's files under other names; `package` may have dots, `installed` is what pip is given."""
    folder, example, old = example_of(root)
    vertical, _, system = name.partition(".")
    before, _, word = example.partition(".")
    words = {
        **WORDS,
        str(folder.relative_to(root)): installed,
        f"{word.capitalize()}Predictor": f"{''.join(part.capitalize() for part in system.split('_'))}Predictor",
        example: name,
        old: package,
        old.replace("_", "-"): f"espalier-{system.replace('_', '-')}",
        f"serve {before}": f"serve {vertical}",
        f"{word}-simulated": f"{system.replace('_', '-')}-simulated",
    }
    pattern = re.compile("|".join(map(re.escape, sorted(words, key=len, reverse=True))))
    found: Tree = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.suffix in (".py", ".md", ".toml") and not any(part.endswith(".egg-info") for part in relative.parts):
            text = pattern.sub(lambda match: words[match[0]], path.read_text(encoding="utf-8"))
            text = IMPORTS.sub(lambda block: "".join(sorted(block[0].splitlines(keepends=True))), text)
            found[str(relative).replace(old, package)] = File(text.encode())
    return found


def example_of(root: Path) -> tuple[Path, str, str]:
    """Folder, system and package of the example plug-in."""
    for path in sorted(root.glob("examples/*/pyproject.toml")):
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["entry-points"][GROUP]
        [(name, target)] = entries.items()
        return path.parent, name, target.partition(":")[0]
    raise UsageError("the example that an empty system is made of is not there", where=str(root / "examples"))


def _service(root: Path, vertical: str) -> Tree:
    """Package and service of a new vertical, as those of another one."""
    tree = {str(path.relative_to(root)): File(path.read_bytes()) for path in root.glob("*/service.py")}
    other = verticals(tree)[0]
    text = tree[f"{other}/service.py"].content.decode().replace(other, vertical)
    return {
        f"{vertical}/__init__.py": File(f'"""The systems of {vertical}."""\n'.encode()),
        f"{vertical}/service.py": File(text.encode()),
    }


def _add(root: Path, made: Tree, name: str) -> None:
    """Stage the files, put the new folders in their places, and register the system last."""
    vertical = name.partition(".")[0]
    project = with_system((root / "pyproject.toml").read_text(encoding="utf-8"), name)
    staging = Path(tempfile.mkdtemp(dir=root, prefix=".blank."))
    try:
        for path, file in made.items():
            part = staging / path
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(file.content)
        for path in made:
            place = root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            (staging / path).replace(place)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    ignored = root / ".dockerignore"
    if ignored.is_file() and f"!{vertical}\n" not in (text := ignored.read_text(encoding="utf-8")):
        write_whole(ignored, text.replace("!common\n", f"!common\n!{vertical}\n"))
    write_whole(root / "pyproject.toml", project)
