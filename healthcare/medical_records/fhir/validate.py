"""Whether a resource is FHIR R4, and if not, why: every fault with its path, what was got and what was expected.

Checked: names, types, lists and single values, cardinality, one of a choice, primitive formats, required codes, what a
reference may lead to, contained resources, and the rules of `rules.py`. Not checked: profiles beyond R4 itself, and
terminologies other than those that R4 requires. At most `MOST_PROBLEMS` are told, so that time stays bounded.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from itertools import islice
from typing import Any

from healthcare.medical_records.fhir import structure
from healthcare.medical_records.fhir.primitives import fault
from healthcare.medical_records.fhir.problem import MOST_SHOWN, Problem, shown
from healthcare.medical_records.fhir.references import FORM
from healthcare.medical_records.fhir.rules import broken_rules, listed
from healthcare.medical_records.fhir.structure import PRIMITIVES, Element, Kind

MOST_PROBLEMS = 50
_CODED = {"code", "CodeableConcept"}
_TYPED = re.compile(r"(?:.*/)?([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?(?:#\S+)?")
_SEARCHED = re.compile(r"([A-Z][A-Za-z]+)\?")

Json = dict[str, Any]
Found = Iterator[Problem]


def validate(resource: Any) -> list[Problem]:
    """What is wrong with a parsed resource, at most `MOST_PROBLEMS`; an empty list if nothing is."""
    return list(islice(_Check().resource(resource, ""), MOST_PROBLEMS))


class _Check:
    """One pass over one resource. `within` are the types of the contained resources by id, `full` those by fullUrl."""

    def __init__(self) -> None:
        self.within: dict[str, str] | None = None
        self.full: dict[str, str] = {}

    def resource(self, value: Any, path: str) -> Found:
        """A resource of any type; `path` is empty for the outermost."""
        kind = value.get("resourceType") if isinstance(value, dict) else None
        place = path or (kind if isinstance(kind, str) else "the document")
        if not isinstance(value, dict):
            yield Problem(place, "not a resource", shown(value), "an object with a resourceType")
            return
        if not isinstance(kind, str) or kind not in structure.resource_types():
            got = shown(kind) if "resourceType" in value else "none"
            at = f"{path}.resourceType" if path else "resourceType"
            yield Problem(at, "not a resource type of R4", got, near(str(kind), structure.resource_types()))
            return
        outer = self.within
        if outer is None and structure.is_domain(kind):
            parts = [part for part in listed(value.get("contained")) if isinstance(part, dict)]
            self.within = {
                part["id"]: str(part.get("resourceType")) for part in parts if isinstance(part.get("id"), str)
            }
            self.within[""] = kind
        if kind == "Bundle":
            entries = [each for each in listed(value.get("entry")) if isinstance(each, dict)]
            told = [(each.get("fullUrl"), each.get("resource")) for each in entries]
            self.full |= {
                url: str(each.get("resourceType"))
                for url, each in told
                if isinstance(url, str) and isinstance(each, dict)
            }
        yield from self.object(value, kind, place, skip="resourceType")
        self.within = outer

    def object(self, value: Any, kind: str, path: str, skip: str = "") -> Found:
        """An object of a type that is no primitive; `skip` is a name that is none of its elements."""
        if not isinstance(value, dict):
            yield Problem(path, f"not a {kind}", shown(value), "an object")
            return
        if not value:
            yield Problem(path, "empty", "{}", "an object with something in it, or nothing at all")
        known = structure.fields(kind)
        used: dict[str, str] = {}
        for name, part in value.items():
            if name == skip:
                continue
            field = name[1:] if name.startswith("_") else name
            element, its = known.get(field, (None, None))
            if element is None or its is None or (name != field and its.name not in PRIMITIVES):
                yield Problem(f"{path}.{name}", f"{kind} has no such field", shown(part), near(name, known))
                continue
            other = used.setdefault(element.name, field)
            if other != field:
                yield Problem(f"{path}.{name}", f"more than one {element.name}", f"{other} and {field}", "one of them")
            if name == field:
                yield from self._values(part, value.get(f"_{name}"), element, its, f"{path}.{name}")
            else:
                yield from self._shadows(part, value.get(field), element, f"{path}.{name}")
        for element in structure.elements(kind):
            if element.least and element.name not in used:
                kinds = " or ".join(dict.fromkeys(each.name for each in element.kinds))
                yield Problem(f"{path}.{element.name}", "missing", "", f"a {kinds}: {kind} requires it")
        yield from broken_rules(value, kind, path)

    def _values(self, value: Any, shadow: Any, element: Element, kind: Kind, path: str) -> Found:
        if not element.repeats and isinstance(value, list):
            yield Problem(path, "a list", shown(value), f"one {kind.name}: it does not repeat")
        elif not element.repeats:
            yield from self._value(value, element, kind, path)
        elif not isinstance(value, list):
            yield Problem(path, "not a list", shown(value), f"a list of {kind.name}, even of one")
        elif not value:
            yield Problem(path, "empty", "[]", f"at least one {kind.name}, or no field at all")
        else:
            for at, each in enumerate(value):
                beside = shadow[at] if isinstance(shadow, list) and at < len(shadow) else None
                if each is not None or kind.name not in PRIMITIVES or beside is None:
                    yield from self._value(each, element, kind, f"{path}[{at}]")

    def _value(self, value: Any, element: Element, kind: Kind, path: str) -> Found:
        if value is None:
            yield Problem(path, "null", "null", f"a {kind.name}, or no field at all")
            return
        if kind.name == "Resource":
            yield from self.resource(value, path)
            return
        if kind.name in PRIMITIVES:
            if expected := fault(kind.name, value):
                yield Problem(path, f"not a {kind.name}", shown(value), expected)
                return
        else:
            yield from self.object(value, kind.name, path)
        if kind.name == "Reference" and isinstance(value, dict):
            yield from self._reference(value, kind, path)
        if element.codes and kind.name in _CODED and isinstance(value, dict | str):
            yield from _coded(value, element.codes, path)

    def _shadows(self, value: Any, beside: Any, element: Element, path: str) -> Found:
        """The `_name` of a primitive: its id and extensions, in a list if the primitive repeats."""
        if not element.repeats:
            yield from self.object(value, "Element", path)
        elif not isinstance(value, list):
            yield Problem(path, "not a list", shown(value), "a list as long as that of the values, null between")
        else:
            if isinstance(beside, list) and len(beside) != len(value):
                yield Problem(path, "not as long as its values", shown(value), f"a list of {len(beside)}")
            for at, part in enumerate(value):
                if part is not None:
                    yield from self.object(part, "Element", f"{path}[{at}]")

    def _reference(self, value: Json, kind: Kind, path: str) -> Found:
        link, said = value.get("reference"), value.get("type")
        place = f"{path}.reference"
        if not isinstance(link, str):
            return
        if not FORM.fullmatch(link):
            forms = "#id, Type/id, an absolute URL, urn:uuid:... or urn:oid:..."
            yield Problem(place, "not a reference", shown(link), forms)
            return
        if link.startswith("#") and self.within is not None and link[1:] not in self.within:
            names = sorted(name for name in self.within if name)
            expected = near(link[1:], names) if names else "something contained, but nothing is"
            yield Problem(place, "leads to nothing contained", shown(link), expected)
            return
        target, types = self._target(link), structure.resource_types()
        if not target:
            return
        if target not in types:
            if "://" not in link:
                yield Problem(place, "not a resource type of R4", target, near(target, types))
        elif kind.targets and "Resource" not in kind.targets and target not in kind.targets:
            yield Problem(place, "leads to the wrong type", target, " or ".join(sorted(kind.targets)))
        elif isinstance(said, str) and said in types and said != target:
            yield Problem(f"{path}.type", "not the type that it leads to", said, target)

    def _target(self, link: str) -> str:
        """The type that a reference leads to; empty where the reference does not say."""
        if link.startswith("#"):
            return (self.within or {}).get(link[1:], "")
        if link in self.full:
            return self.full[link]
        found = _TYPED.fullmatch(link) or _SEARCHED.match(link)
        return found[1] if found else ""


def _coded(value: Any, name: str, path: str) -> Found:
    """Whether a code, a Coding or one of the codings of a CodeableConcept is in the value set that binds it."""
    allowed = structure.codes(name)
    every = sorted(code for codes in allowed.values() for code in codes)
    if isinstance(value, str):
        if value not in every:
            yield Problem(path, f"not a code of {name}", shown(value), near(value, every))
        return
    codings = [each for each in listed(value.get("coding")) if isinstance(each, dict)]
    if not codings and "extension" in value:  # it may say why there is none
        return
    if not any(str(each.get("code")) in allowed.get(str(each.get("system")), ()) for each in codings):
        got = ", ".join(f"{each.get('system')}|{each.get('code')}"[:MOST_SHOWN] for each in codings[:3]) or "no code"
        wanted = near(str((codings or [{}])[0].get("code")), every)
        yield Problem(path, f"not a code of {name}", got, f"a code of {' or '.join(allowed)}: {wanted}")


def near(got: str, names: Collection[str]) -> str:
    """The names that may stand there: all of a few, else the closest."""
    if len(names) <= 8:
        return " or ".join(sorted(names))
    close = get_close_matches(got[:MOST_SHOWN].lstrip("_"), names, n=2, cutoff=0.6)
    return f"{' or '.join(close)}?" if close else f"one of {', '.join(sorted(names)[:8])} and {len(names) - 8} more"
