from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from healthcare.medical_records.fhir.define import tables

HL7 = "http://hl7.org/fhir"


def element(path: str, least: int, most: str, *kinds: str, values: str = "", **more: object) -> dict:
    binding = {"binding": {"strength": "required", "valueSet": f"{values}|4.0.1"}} if values else {}
    return {"path": path, "min": least, "max": most, "type": [{"code": kind} for kind in kinds], **binding, **more}


def package(folder: Path, *resources: dict) -> Path:
    path = folder / "core.tgz"
    with tarfile.open(path, "w:gz") as file:
        for at, resource in enumerate(resources):
            member = tarfile.TarInfo(f"package/{resource['resourceType']}-{at}.json")
            content = json.dumps(resource).encode()
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path


def test_tables_out_of_definitions(tmp_path):
    target = {"code": "Reference", "targetProfile": [f"{HL7}/StructureDefinition/Patient"]}
    thing = {
        "resourceType": "StructureDefinition", "kind": "resource", "name": "Thing", "type": "Thing",
        "baseDefinition": f"{HL7}/StructureDefinition/DomainResource",
        "snapshot": {"element": [
            element("Thing", 0, "*"),
            element("Thing.id", 0, "1", "string"),
            element("Thing.status", 1, "1", "code", values=f"{HL7}/ValueSet/thing-status"),
            element("Thing.unit", 0, "1", "code", values=f"{HL7}/ValueSet/ucum-units"),
            element("Thing.value[x]", 0, "1", "Quantity", "string"),
            {**element("Thing.subject", 0, "1"), "type": [target]},
            element("Thing.part", 0, "*", "BackboneElement"),
            element("Thing.part.id", 0, "1", "string"),
            {"path": "Thing.part.part", "min": 0, "max": "*", "contentReference": "#Thing.part"},
        ]},
    }  # fmt: skip
    profile = {**thing, "name": "myThing", "derivation": "constraint"}
    status = {
        "resourceType": "ValueSet", "url": f"{HL7}/ValueSet/thing-status",
        "compose": {"include": [{"system": "urn:s"}], "exclude": [{"system": "urn:s", "concept": [{"code": "c"}]}]},
    }  # fmt: skip
    units = {
        "resourceType": "ValueSet",
        "url": f"{HL7}/ValueSet/ucum-units",
        "compose": {"include": [{"system": "urn:u"}]},
    }
    system = {
        "resourceType": "CodeSystem",
        "url": "urn:s",
        "concept": [{"code": "a", "concept": [{"code": "b"}]}, {"code": "c"}],
    }
    made = tables(package(tmp_path, thing, profile, status, units, system))
    assert made["codes.tsv"] == "thing-status\n\turn:s\ta\tb\n"
    assert made["structure.tsv"].splitlines() == [
        "Thing\tDomainResource",
        "\tstatus\t1..1\tcode\tthing-status",
        "\tunit\t0..1\tcode",
        "\tvalue[x]\t0..1\tQuantity|string",
        "\tsubject\t0..1\tReference(Patient)",
        "\tpart\t0..*\tThing.part",
        "Thing.part\tBackboneElement",
        "\tpart\t0..*\tThing.part",
    ]
