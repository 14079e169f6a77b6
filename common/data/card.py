"""`datasets/<id>/card.toml`: what a data set is, where it comes from and what to beware of."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, FiniteFloat, ValidationError, model_validator

import common
from common.config import Strict
from common.errors import DataError, DatasetUnavailable, UsageError


def _inside(path: str) -> str:
    """A card cannot name a file outside its own folder."""
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError("expected a path inside the data set's folder")
    return path


def _meanings(values: Any) -> Any:
    """`["yes", "no"]` is short for `{yes = "yes", no = "no"}`."""
    return {str(value): str(value) for value in values} if isinstance(values, list) else values


class DataFile(Strict):
    """One file, pinned: the hash decides, not the url. Without a url it is private, and lies beside its card,
    or an installed `package` ships it. `part` is what a `stacked` card calls its rows.
    """

    path: Annotated[str, AfterValidator(_inside)]
    url: Annotated[str, Field(pattern=r"^(https?://|$)")] = ""
    package: str = ""
    part: str = ""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class Column(Strict):
    """One column as its source documents it.

    `values` maps each documented code to its meaning; `undocumented` lists codes known to occur without
    one: the schema lets them through and the audit names them. `missing` says whether a cell may be blank. A column
    of kind `other` is no feature (free text, dates). `facts` are for a system, whose page says which it understands.
    """

    name: str
    kind: Literal["number", "category", "id", "target", "other"]
    description: str = ""
    unit: str = ""
    values: Annotated[dict[str, str], BeforeValidator(_meanings)] = Field({})
    undocumented: tuple[int | str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    missing: bool = False
    facts: dict[str, Any] = Field({})

    @property
    def codes(self) -> tuple[int, ...] | tuple[str, ...]:
        """The documented codes as they stand in the file: integers when all of them are."""
        try:
            return tuple(int(code) for code in self.values)
        except ValueError:
            return tuple(self.values)


class Published(Strict):
    """One published number: rates as fractions, the protocol by our id (`5x2cv`), the source to look it up."""

    model: str
    metric: str
    value: FiniteFloat
    protocol: str
    source: str


class DatasetCard(Strict):
    """Everything the house knows about one data set; the first of `files` is its table, or a tar of pictures.

    Files of the format `files` are for their system to read, and only checked against their hashes.
    `positive` is the value of `target` that means the event (default, failure, disease). `header` says what the first
    line of a table is: the names, a row, or something else to skip. With `stacked` all files are parts of the table,
    and the column of that name says which part a row is from.
    """

    id: str
    title: str
    task: str
    files: Annotated[tuple[DataFile, ...], Field(min_length=1)]
    format: Literal["arrays", "csv", "files", "pictures", "semicolon", "whitespace"] = "csv"
    header: Literal["names", "none", "skipped"] = "names"
    stacked: str = ""
    licence: str
    redistributable: bool
    citation: str
    rows: Annotated[int, Field(gt=0)]
    target: str = ""
    positive: int | str | None = None
    label_counts: dict[str, int] = Field({})
    identifier: str | None = None
    group: str | None = None
    time: str | None = None
    sensitive: tuple[str, ...] = ()
    pitfalls: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()
    columns: tuple[Column, ...] = ()

    @property
    def features(self) -> list[str]:
        """The columns a model may see: not the id, target, group or time."""
        keys = {self.group, self.time}
        return [c.name for c in self.columns if c.kind in ("number", "category") and c.name not in keys]

    def column(self, name: str) -> Column:
        """One column by name; raises `UsageError` when the card has none of that name."""
        for column in self.columns:
            if column.name == name:
                return column
        known = ", ".join(column.name for column in self.columns)
        raise UsageError("unknown column", where=self.id, got=repr(name), expected=f"one of {known}")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            raise ValueError("a column is listed twice")
        used = [self.target, self.identifier, self.group, self.time, *self.sensitive]
        if absent := [name for name in used if name and names and name not in names]:
            raise ValueError(f"{', '.join(absent)} is not among the columns")
        for kind, name in (("target", self.target), ("id", self.identifier)):
            if (listed := [c.name for c in self.columns if c.kind == kind]) != ([name] if name and names else []):
                raise ValueError(f"columns of kind {kind} are {listed}, but the card's {kind} is {name!r}")
        if self.label_counts and sum(self.label_counts.values()) != self.rows:
            raise ValueError(f"label_counts add up to {sum(self.label_counts.values())}, rows say {self.rows}")
        if self.positive is not None and str(self.positive) not in self.label_counts:
            raise ValueError(f"positive {self.positive!r} is not in label_counts")
        return self


def load_card(name: str) -> DatasetCard:
    """The card of a data set by id, or by the path of its `card.toml`.

    Raises `UsageError` when the id is unknown, `DatasetUnavailable` outside a project and `DataError` when
    the card is malformed.
    """
    if name.endswith(".toml"):
        return _read(Path(name))
    known: set[str] = set()
    for folder in _folders():
        if (path := folder / name / "card.toml").is_file():
            return _read(path)
        known |= {card.parent.name for card in folder.glob("*/card.toml")}
    if not known:
        raise DatasetUnavailable(
            "no data set cards found, and an installed package brings none",
            where=name,
            got=f"working folder {Path.cwd()}",
            expected="a project with datasets/",
            fix="run this inside a checkout or a clone, or name the path of a card.toml",
        )
    raise UsageError("unknown data set", got=repr(name), expected=f"one of {', '.join(sorted(known))}")


def published(dataset: str, protocol: str | None = None) -> list[Published]:
    """Published numbers of a data set, all or those of one protocol."""
    return [entry for entry in load_card(dataset).published if protocol in (None, entry.protocol)]


def beside(card: DatasetCard, file: DataFile) -> Iterator[Path]:
    """Where a file may lie that is not fetched: in the package that ships it, and in the folder of its card."""
    if file.package and (spec := find_spec(file.package)) and spec.origin:
        yield Path(spec.origin).parent / file.path
    yield from (folder / card.id / file.path for folder in _folders() if (folder / card.id / file.path).is_file())


def all_cards() -> list[DatasetCard]:
    """Every card of the project, by id; raises `DataError` naming the first malformed one."""
    return [load_card(id) for id in sorted({path.parent.name for f in _folders() for path in f.glob("*/card.toml")})]


def _folders() -> Iterator[Path]:
    """`datasets/` folders with cards: a project's own first, then the one beside this package."""
    package = Path(common.__file__).resolve().parent
    for start in (Path.cwd() / "datasets", package):
        for parent in start.parents:
            if any((parent / "datasets").glob("*/card.toml")):
                yield parent / "datasets"
                break


def _read(path: Path) -> DatasetCard:
    try:
        card = DatasetCard.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UsageError("no such card", got=str(path), expected="a card.toml or the id of a data set") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"not a TOML file ({error})", where=str(path)) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        got = None if isinstance(first["input"], dict) else repr(first["input"])
        where = f"{path}: {field}" if field else str(path)
        raise DataError("malformed card", where=where, got=got, expected=first["msg"]) from None
    if path.name == "card.toml" and card.id != path.resolve().parent.name:
        raise DataError("malformed card", where=f"{path}: id", got=repr(card.id), expected="the name of its folder")
    return card
