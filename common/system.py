"""System and Predictor, and the registry of systems by entry point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, Self

from common.errors import SystemUnavailable

if TYPE_CHECKING:
    from common.bundle import Bundle

GROUP = "espalier.systems"


class Predictor(Protocol):
    """All that serving knows of a system.

    `predict` always takes a batch and answers in the same order and length; N rows together
    give exactly what N rows alone give, and it may be called from several threads. The pydantic types
    `request` and `response` may belong to the class or, when the fields depend on the training data, to
    the loaded predictor. It may name `sensitive` fields of requests and `hidden` ones of answers (at any depth), which
    the audit log keeps as hashes only, and a `tolerance` with which golden answers are compared (see `open_predictor`).
    """

    request: Any
    response: Any

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Self:
        """Build the predictor from a verified bundle."""

    def predict(self, batch: Sequence[Any]) -> list[Any]:
        """Answer every request of the batch."""


@dataclass(frozen=True)
class System:
    """What a system is called and where its rooms are: strings only, so listing stays fast.

    `presets` are names of settings. `config`, `train`, `evaluate`, `bench`, `predictor` and `objective` are
    `"module:attribute"`: `train(config) -> Bundle`, `evaluate(bundle) -> (Report, sections of its page)`,
    `bench(config, preset) -> list[Report]`, and `objective(config, trial) -> float` on validation data for tuning.
    `demo` is the preset that `espalier demo` trains first: one that takes minutes at most.
    `acceptance` has thresholds on a bundle's metrics, such as `valid_auc >= 0.65`, without which none is promoted.
    `intended_use` and `limits` are sentences for the card of every bundle and the description of the API.
    """

    name: str
    summary: str
    task: str
    risk: str
    datasets: tuple[str, ...]
    extras: tuple[str, ...]
    presets: tuple[str, ...] = ("sample", "reference", "full")
    config: str = ""
    train: str = ""
    evaluate: str = ""
    bench: str = ""
    predictor: str = ""
    objective: str = ""
    acceptance: tuple[str, ...] = ()
    demo: str = "reference"
    intended_use: str = ""
    limits: tuple[str, ...] = ()

    @property
    def purpose(self) -> str:
        """What it is for and what its answers cannot tell, as Markdown for cards and the API description."""
        use = f"**Intended use.** {self.intended_use}\n" if self.intended_use else ""
        limits = "\n".join(["**Limits.**", "", *(f"- {limit}" for limit in self.limits), ""]) if self.limits else ""
        return "\n".join(part for part in (use, limits) if part)

    @property
    def vertical(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]

    @property
    def short_name(self) -> str:
        """The part of the name after the dot, as in the routes."""
        return self.name.partition(".")[2]

    def load(self, room: str) -> Any:
        """Import what a room's `"module:attribute"` string names.

        Raises `SystemUnavailable` when the system lacks the room or a package of its extra is missing.
        """
        target: str = getattr(self, room)
        if not target:
            raise SystemUnavailable(f"this system has no {room}", where=self.name)
        module, _, attribute = target.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            extras = f" with its extras {', '.join(self.extras)}" if self.extras else ""
            raise SystemUnavailable(
                f"the package {error.name!r} is not installed",
                where=self.name,
                fix=f"install the project of this system{extras}",
            ) from error


@dataclass(frozen=True)
class Broken:
    """An entry point that failed to import, kept in the list with its error."""

    name: str
    error: str


def discover() -> dict[str, System | Broken]:
    """All registered systems by name, ours and third parties', in alphabetical order.

    A name belongs to the module of that name, else to the first package by the alphabet; whoever else claims it is
    listed as broken, under the name and its package.
    """
    found: dict[str, System | Broken] = {}
    owners: dict[str, str] = {}
    for entry in sorted(entry_points(group=GROUP), key=_precedence):
        if owners.setdefault(entry.name, entry.value) == entry.value:  # two clones in one environment are one system
            found[entry.name] = found.get(entry.name) or _load(entry)
        else:
            label = f"{entry.name} of {_package(entry)}"
            found[label] = Broken(label, f"the name {entry.name!r} is taken by another package")
    return dict(sorted(found.items()))


def find(name: str) -> System:
    """One system by its full name; raises `SystemUnavailable` when it is unknown or broken."""
    known = discover()
    system = known.get(name)
    if system is None:
        near = get_close_matches(name, known, 1)
        fix = f"did you mean {near[0]!r}?" if near else ""
        raise SystemUnavailable("unknown system", got=repr(name), expected=f"one of {', '.join(known)}", fix=fix)
    if isinstance(system, Broken):
        raise SystemUnavailable(f"this system cannot be imported ({system.error})", where=name)
    return system


def in_vertical(vertical: str, *, may_be_empty: bool = False) -> list[System]:
    """The working systems of one vertical; raises `SystemUnavailable` when there is none.

    With `may_be_empty` a vertical that has a service, and no system yet, gives none.
    """
    systems = [s for s in discover().values() if isinstance(s, System)]
    found = [s for s in systems if s.vertical == vertical]
    if not found and not (may_be_empty and _has_service(vertical)):
        known = ", ".join(sorted({s.vertical for s in systems}))
        raise SystemUnavailable("no system in this vertical", got=repr(vertical), expected=f"one of {known}")
    return found


def _has_service(vertical: str) -> bool:
    return vertical.isidentifier() and bool(find_spec(vertical) and find_spec(f"{vertical}.service"))


def _precedence(entry: EntryPoint) -> tuple[str, bool, str]:
    return entry.name, entry.module != entry.name, _package(entry)


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.module


def _load(entry: EntryPoint) -> System | Broken:
    try:
        system = entry.load()
    except (Exception, SystemExit) as error:  # a broken plug-in must not take the others down
        return Broken(entry.name, f"{type(error).__name__}: {error}")
    if not isinstance(system, System):
        return Broken(entry.name, f"{entry.value} is a {type(system).__name__}, expected a System")
    if system.name != entry.name:
        return Broken(entry.name, f"registered as {entry.name!r} but calls itself {system.name!r}")
    return system
