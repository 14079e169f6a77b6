"""The clone of some systems as files: the same commit, origin and name give the same bytes."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

from common.clone import markdown, pyproject
from common.clone.git import File, Tree
from common.clone.prune import Pruning
from common.clone.records import Record, chosen
from common.files import sha256

RECORD = ".template.json"
VERTICAL = re.compile(r"(\bVERTICAL(?:=| \?= |:-))(\w+)")


@dataclass(frozen=True)
class Template:
    """What a clone was made of."""

    source: str
    commit: str
    origin: str
    name: str


def render(tree: Tree, template: Template) -> Tree:
    """All files of a clone but its brief; `.template.json` has the sha256 of each.

    Raises `SystemUnavailable` when the tree has no such system.
    """
    pruning = Pruning(tree, tuple(chosen(tree, template.origin)))
    made = {name: _file(name, tree[name], template, pruning) for name in pruning.files}
    made["README.md"] = File(readme(template, pruning.systems).encode())
    made["NOTICE"] = File(notice(template, pruning.systems).encode())
    sums = {name: sha256(file.content) for name, file in sorted(made.items())}
    made[RECORD] = File((json.dumps(asdict(template) | {"files": sums}, indent=1) + "\n").encode())
    return made


def _file(name: str, file: File, template: Template, pruning: Pruning) -> File:
    text = file.text
    if text is None or name.endswith(".py"):
        return file
    if name == "pyproject.toml":
        text = pyproject.pruned(text, template.name, pruning)
    elif name.endswith(".md"):
        text = markdown.pruned(name, text, pruning)
    elif name == ".dockerignore":
        text = "".join(line for line in text.splitlines(keepends=True) if line.strip("!/\n") not in pruning.absent)
    else:
        own = min(pruning.verticals)
        text = VERTICAL.sub(lambda found: found[1] + own if found[2] in pruning.absent else found[0], text)
    return File(text.encode(), file.executable)


def readme(template: Template, systems: tuple[Record, ...]) -> str:
    """The front page of a clone."""
    vertical = systems[0].vertical
    rows = "\n".join(f"| [`{s.name}`]({s.folder}/README.md) | {s.summary} | {s.risk} |" for s in systems)
    return f"""# {template.name}

Grown from Espalier, `{template.origin}` at commit `{template.commit[:12]}`. What it is for, and what it must reach, is
in [PLAN.md](PLAN.md).

```bash
make demo     # data, training, report, registry, service, real requests; leaves the service running
make test     # all tests
```

You need Linux, `make` and Python 3.11 or newer with its `venv` module. Both commands set up `.venv` themselves.

| system | what it does | risk |
| --- | --- | --- |
{rows}

## By hand

```bash
python3.11 -m venv .venv
.venv/bin/pip install -e '.[{vertical}]'
. .venv/bin/activate
bundle=$(espalier train {systems[0].name})
espalier evaluate "$bundle"                # the report; fails when a threshold of acceptance.toml is missed
espalier serve {vertical} --bundle "$bundle"
```

Your own data: [docs/clone.md](docs/clone.md). Everything else: [docs/index.md](docs/index.md).

## Keep up

```bash
espalier update --dry-run     # what would change
espalier update               # merges what is new in Espalier; your own changes stay
```

Its source is `{template.source}`. Code: [LICENSE](LICENSE) and [NOTICE](NOTICE); the data sets have licences of their
own, named in `datasets/<id>/card.toml`.
"""


def notice(template: Template, systems: tuple[Record, ...]) -> str:
    """Who wrote what, as the Apache License, section 4, asks."""
    names = ", ".join(record.name for record in systems)
    return f"""{template.name}

This product includes software of the Espalier project ({names}, commit
{template.commit}),
licensed under the Apache License, Version 2.0 (see LICENSE). Files changed since are shown by
`git log` and by the checksums in {RECORD}.
"""
