"""Whether a resource is FHIR R4, and if not, why: every fault with its path, what was got and what was expected.

Checked: names, types, lists and single values, cardinality, one of a choice, primitive formats, required codes, what a
reference may lead to, contained resources, and the rules of `rules.py`. Not checked: profiles beyond R4 itself, and
terminologies other than those that R4 requires. At most `MOST_PROBLEMS` are told, so that time stays bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from healthcare.medical_records.fhir import structure
from healthcare.medical_records.fhir.primitives import fault
from healthcare.medical_records.fhir.problem import Problem, shown
from healthcare.medical_records.fhir.rules import broken_rules
from healthcare.medical_records.fhir.structure import PRIMITIVES, Element, Kind

MOST_PROBLEMS = 50
_CODED = {"code", "Coding", "CodeableConcept"}
_TYPED = re.compile(r"(?:.*/)?([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?(?:#\S+)?")
_FORM = re.compile(r"#\S*|urn:\S+|[a-z][a-z0-9+.\-]*://\S+|[A-Z][A-Za-z]+\?\S+|[A-Z][A-Za-z]+/[^\s/]+\S*")

Json = dict[str, Any]


def validate(resource: Any) -> list[Problem]:
    """What is wrong with a parsed resource, at most `MOST_PROBLEMS`; an empty list if nothing is."""
    check = _Check()
    try:
        check.resource(resource, "")
    except _Enough:
        pass
    return check.problems


class _Enough(Exception):
    """As many problems as anybody reads."""


class _Check:
    """One pass over one resource. `within` are the types of the contained resources by id, `full` those by fullUrl."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.within: dict[str, str] | None = None
        self.full: dict[str, str] = {}

    def tell(self, path: str, what: str, got: str = "", expected: str = "") -> None:
        if len(self.problems) == MOST_PROBLEMS:
            raise _Enough
        self.problems.append(Problem(path, what, got, expected))

    def resource(self, value: Any, path: str) -> None:
        kind = value.get("resourceType") if isinstance(value, dict) else None
        place = path or (kind if isinstance(kind, str) else "the document")
        if not isinstance(value, dict):
            return self.tell(place, "not a resource", shown(value), "an object with a resourceType")
        if not isinstance(kind, str) or kind not in structure.resource_types():
            got = shown(kind) if "resourceType" in value else "none"
            at = f"{path}.resourceType" if path else "resourceType"
            return self.tell(at, "not a resource type of R4", got, _near(str(kind), structure.resource_types()))
        outer = self.within
        if outer is None and structure.is_domain(kind):
            self.within = {}
            parts = value.get("contained")
            for part in parts if isinstance(parts, list) else ():
                if isinstance(part, dict) and isinstance(part.get("id"), str):
                    self.within[part["id"]] = str(part.get("resourceType"))
            self.within[""] = kind
        if kind == "Bundle":
            self._full_urls(value)
        self.object(value, kind, place, skip="resourceType")
        self.within = outer

    def object(self, value: Any, kind: str, path: str, skip: str = "") -> None:
        """An object of a type that is no primitive; `skip` is a name that is none of its elements."""
        if not isinstance(value, dict):
            return self.tell(path, f"not a {kind}", shown(value), "an object")
        if not value:
            return self.tell(path, "empty", "{}", "an object with something in it, or nothing at all")
        known = structure.fields(kind)
        used: dict[str, str] = {}
        for name, part in value.items():
            if name == skip:
                continue
            field = name[1:] if name.startswith("_") else name
            element, its = known.get(field, (None, None))
            if element is None or its is None or (name != field and its.name not in PRIMITIVES):
                self.tell(f"{path}.{name}", f"{kind} has no such field", shown(part), _near(name, known))
                continue
            other = used.setdefault(element.name, field)
            if other != field:
                what, got = f"more than one {element.name}", f"{other} and {field}"
                self.tell(f"{path}.{name}", what, got, "one of them")
            if name == field:
                self._values(part, value.get(f"_{name}"), element, its, f"{path}.{name}")
            else:
                self._shadows(part, value.get(field), element, f"{path}.{name}")
        for element in structure.elements(kind):
            if element.least and element.name not in used:
                kinds = " or ".join(dict.fromkeys(each.name for each in element.kinds))
                self.tell(f"{path}.{element.name}", "missing", "", f"a {kinds}: {kind} requires it")
        for rule in broken_rules(value, kind, path):
            self.tell(rule.path, rule.what, rule.got, rule.expected)

    def _values(self, value: Any, shadow: Any, element: Element, kind: Kind, path: str) -> None:
        if not element.repeats:
            if isinstance(value, list):
                return self.tell(path, "a list", shown(value), f"one {kind.name}: it does not repeat")
            return self._value(value, element, kind, path)
        if not isinstance(value, list):
            return self.tell(path, "not a list", shown(value), f"a list of {kind.name}, even of one")
        if not value:
            return self.tell(path, "empty", "[]", f"at least one {kind.name}, or no field at all")
        for at, each in enumerate(value):
            beside = shadow[at] if isinstance(shadow, list) and at < len(shadow) else None
            if each is None and kind.name in PRIMITIVES and beside is not None:
                continue
            self._value(each, element, kind, f"{path}[{at}]")
        return None

    def _value(self, value: Any, element: Element, kind: Kind, path: str) -> None:
        if value is None:
            return self.tell(path, "null", "null", f"a {kind.name}, or no field at all")
        if kind.name == "Resource":
            return self.resource(value, path)
        if kind.name in PRIMITIVES:
            if expected := fault(kind.name, value):
                return self.tell(path, f"not a {kind.name}", shown(value), expected)
        else:
            self.object(value, kind.name, path)
            if kind.name == "Reference" and isinstance(value, dict):
                self._reference(value, kind, path)
        if element.codes and kind.name in _CODED:
            self._coded(value, element.codes, path)
        return None

    def _shadows(self, value: Any, beside: Any, element: Element, path: str) -> None:
        """The `_name` of a primitive: its id and extensions, in a list if the primitive repeats."""
        parts = value if element.repeats and isinstance(value, list) else [value]
        if element.repeats and not isinstance(value, list):
            return self.tell(
                path, "not a list", shown(value), "a list as long as that of the values, with null between"
            )
        if isinstance(beside, list) and element.repeats and len(beside) != len(parts):
            self.tell(path, "not as long as its values", f"a list of {len(parts)}", f"a list of {len(beside)}")
        for at, part in enumerate(parts):
            if part is not None or not element.repeats:
                self.object(part, "Element", f"{path}[{at}]" if element.repeats else path)
        return None

    def _coded(self, value: Any, name: str, path: str) -> None:
        allowed = structure.codes(name)
        every = sorted(code for codes in allowed.values() for code in codes)
        if isinstance(value, str):
            if value not in every:
                self.tell(path, f"not a code of {name}", shown(value), _near(value, every))
            return
        codings = value.get("coding", []) if "coding" in value or "text" in value else [value]
        pairs = [each for each in codings if isinstance(each, dict)] if isinstance(codings, list) else []
        if not any(each.get("code") in allowed.get(str(each.get("system")), ()) for each in pairs):
            got = ", ".join(f"{each.get('system')}|{each.get('code')}" for each in pairs) or "no code"
            expected = f"a code of {' or '.join(allowed)}: {_near(str((pairs or [{}])[0].get('code')), every)}"
            self.tell(path, f"not a code of {name}", got, expected)

    def _reference(self, value: Json, kind: Kind, path: str) -> None:
        link, said = value.get("reference"), value.get("type")
        if not isinstance(link, str):
            return
        place = f"{path}.reference"
        if not _FORM.fullmatch(link):
            forms = "#id, Type/id, an absolute URL, urn:uuid:... or urn:oid:..."
            return self.tell(place, "not a reference", shown(link), forms)
        target = self._target(link, place)
        if target and target not in structure.resource_types() and "://" not in link:
            return self.tell(place, "not a resource type of R4", target, _near(target, structure.resource_types()))
        if target in structure.resource_types():
            if kind.targets and "Resource" not in kind.targets and target not in kind.targets:
                self.tell(place, "leads to the wrong type", target, " or ".join(sorted(kind.targets)))
            if isinstance(said, str) and said in structure.resource_types() and said != target:
                self.tell(f"{path}.type", "not the type that it leads to", said, target)
        return None

    def _target(self, link: str, path: str) -> str:
        """The type that a reference leads to; empty where the reference does not say."""
        if link.startswith("#"):
            if self.within is not None and link[1:] not in self.within:
                contained = ", ".join(f"#{name}" for name in self.within if name) or "nothing is"
                self.tell(path, "leads to nothing contained", link, f"one that is contained ({contained})")
            return (self.within or {}).get(link[1:], "")
        if link in self.full:
            return self.full[link]
        found = _TYPED.fullmatch(link)
        return found[1] if found else link.partition("?")[0] if re.match(r"[A-Z]\w+\?", link) else ""

    def _full_urls(self, bundle: Json) -> None:
        for entry in bundle.get("entry") if isinstance(bundle.get("entry"), list) else ():
            resource = entry.get("resource") if isinstance(entry, dict) else None
            if isinstance(resource, dict) and isinstance(entry.get("fullUrl"), str):
                self.full[entry["fullUrl"]] = str(resource.get("resourceType"))


def _near(got: str, names: Any) -> str:
    """The names that may stand there: all of a few, else the closest."""
    if len(names) <= 8:
        return " or ".join(sorted(names))
    close = get_close_matches(got.lstrip("_"), names, n=2, cutoff=0.6)
    return f"{' or '.join(close)}?" if close else f"one of {', '.join(sorted(names)[:8])} and {len(names) - 8} more"


def errors(problems: list[Problem]) -> Iterator[Problem]:
    """Those that break a rule; warnings are left out."""
    return (problem for problem in problems if problem.severity == "error")
