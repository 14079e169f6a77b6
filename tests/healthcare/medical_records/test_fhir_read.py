from __future__ import annotations

import json
import random
import subprocess
import sys

import pytest

from common.errors import InvalidRequest, RequestTooLarge
from healthcare.medical_records.fhir import structure
from healthcare.medical_records.fhir.breakers import WAYS, break_each
from healthcare.medical_records.fhir.evaluate import evaluate_fhir
from healthcare.medical_records.fhir.lossless import MOST_DEPTH, dump, parse, walk
from healthcare.medical_records.fhir.problem import outcome
from healthcare.medical_records.fhir.read import explain, read, read_ndjson
from healthcare.medical_records.fhir.references import Graph, nodes_of

PATIENT = """{
  "resourceType": "Patient", "id": "p1", "active": true,
  "text": {"status": "generated", "div": "<div xmlns=\\"http://www.w3.org/1999/xhtml\\">A &nbsp; B</div>"},
  "name": [{"use": "official", "given": ["Ada", null], "_given": [null, {"id": "g", "extension": [
    {"url": "http://example.org/why", "valueCode": "unknown"}]}]}],
  "gender": "female", "birthDate": "1815-12", "_birthDate": {"extension": [
    {"url": "http://example.org/exact", "valueDecimal": 1.50}]},
  "deceasedBoolean": true, "managingOrganization": {"reference": "#org"},
  "contained": [{"resourceType": "Organization", "id": "org", "name": "医院"}]
}"""
OBSERVATION = """{
  "resourceType": "Observation", "id": "o1", "status": "final",
  "code": {"coding": [{"system": "http://loinc.org", "code": "718-7"}], "text": "Hb"},
  "subject": {"reference": "Patient/p1"}, "effectivePeriod": {"start": "2015-02-07T13:28:17Z", "end": "2015-02-07"},
  "valueQuantity": {"value": 7.80, "unit": "g/dL", "system": "http://unitsofmeasure.org", "code": "g/dL"},
  "referenceRange": [{"low": {"value": 1e1}, "high": {"value": -0.0}}], "issued": "2015-02-07T13:28:17.239+02:00"
}"""


def broken(text: str, old: str, new: str) -> list[str]:
    assert old in text
    return [str(problem) for problem in explain(text.replace(old, new, 1)) if problem.severity == "error"]


def bundle(*entries: dict, kind: str = "collection") -> dict:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def entry(url: str, kind: str, own: str = "", **fields: object) -> dict:
    return {"fullUrl": url, "resource": {"resourceType": kind, **({"id": own} if own else {}), **fields}}


def test_the_tables_are_those_of_r4():
    assert len(structure.resource_types()) == 146
    assert {"MedicinalProduct", "EffectEvidenceSynthesis", "Patient"} <= structure.resource_types()
    assert not {"Ingredient", "SubscriptionStatus", "DomainResource"} & structure.resource_types()
    element, kind = structure.fields("Observation")["valueQuantity"]
    assert (element.name, element.least, element.repeats, kind.name) == ("value[x]", 0, False, "Quantity")
    assert structure.fields("Observation")["subject"][1].targets == {"Patient", "Group", "Device", "Location"}
    assert structure.fields("Patient")["id"][1].name == "id"
    assert structure.fields("Bundle.entry")["link"][1].name == "Bundle.link"
    assert sum(map(len, structure.codes("observation-status").values())) == 8


def tokens(text: str | bytes) -> object:
    """The document with numbers as written and objects as pairs, by Python's `json` alone."""
    return json.loads(text, parse_float=lambda it: ("n", it), parse_int=lambda it: ("n", it), object_pairs_hook=list)


@pytest.mark.parametrize("text", [PATIENT, OBSERVATION])
def test_what_is_sound_has_no_problems_and_comes_out_as_it_went_in(text):
    assert explain(text) == []
    assert tokens(dump(parse(text))) == tokens(text)
    assert tokens(dump(parse(text), indent=2)) == tokens(text)
    assert tokens(json.dumps(json.loads(text))) != tokens(text)


@pytest.mark.parametrize(
    ("text", "old", "new", "path", "reason"),
    [
        (PATIENT, '"female"', '"woman"', "Patient.gender", "not a code of administrative-gender"),
        (PATIENT, '"1815-12"', '"1815-13"', "Patient.birthDate", "not a date"),
        (PATIENT, '"1815-12"', '"1815-02-30"', "Patient.birthDate", "not a date"),
        (PATIENT, '"active": true', '"active": "true"', "Patient.active", "not a boolean"),
        (PATIENT, '"active"', '"activ"', "Patient.activ", "expected active?"),
        (
            PATIENT,
            '"deceasedBoolean"',
            '"deceasedDateTime": "1852", "deceasedBoolean"',
            "Patient.deceasedBoolean",
            "deceased[x]",
        ),
        (PATIENT, '"#org"', '"#other"', "Patient.managingOrganization.reference", "leads to nothing contained"),
        (PATIENT, '"#org"', '"Organization/1"', "Patient.contained[0]", "dom-3"),
        (PATIENT, '"#org"', '"Patient/2"', "Patient.managingOrganization.reference", "expected Organization"),
        (PATIENT, '"#org"', '"an organization"', "Patient.managingOrganization.reference", "not a reference"),
        (PATIENT, '"url": "http://example.org/why", ', "", "Patient.name[0]._given[1].extension[0].url", "missing"),
        (PATIENT, '["Ada", null]', '["Ada", null, "B"]', "Patient.name[0]._given", "not as long as its values"),
        (PATIENT, '["Ada", null]', '[null, "Ada"]', "Patient.name[0].given[0]", "null"),
        (PATIENT, '"Organization"', '"Organisation"', "Patient.contained[0].resourceType", "expected Organization"),
        (PATIENT, "A &nbsp;", "<script>a</script>", "Patient.text.div", "without scripts"),
        (PATIENT, "&nbsp;", "&nosuch;", "Patient.text.div", "not a xhtml"),
        (PATIENT, '"name": "医院"', '"name": ""', "Patient.contained[0].name", "not a string"),
        (PATIENT, '"id": "p1"', '"id": "p_1"', "Patient.id", "not a id"),
        (PATIENT, '"id": "p1"', '"id": "p1", "id": "p2"', "Patient", "a name stands twice"),
        (PATIENT, "1.50", "NaN", "Patient._birthDate.extension[0].valueDecimal", "not a JSON number"),
        (PATIENT, "true,", "true,,", "the document, line 2, column 57", "not JSON"),
        (OBSERVATION, '"status": "final",', "", "Observation.status", "missing"),
        (OBSERVATION, "7.80", '"7.80"', "Observation.valueQuantity.value", "expected a number, without quotes"),
        (OBSERVATION, '"end": "2015-02-07"', '"end": "2015-02-06"', "Observation.effectivePeriod", "per-1"),
        (OBSERVATION, '"system": "http://unitsofmeasure.org", ', "", "Observation.valueQuantity.system", "qty-3"),
        (OBSERVATION, ".239+02:00", "", "Observation.issued", "with a time zone"),
        (
            OBSERVATION,
            '[{"low": {"value": 1e1}, "high": {"value": -0.0}}]',
            "{}",
            "Observation.referenceRange",
            "not a list",
        ),
        (OBSERVATION, '{"reference": "Patient/p1"}', '[{"reference": "Patient/p1"}]', "Observation.subject", "a list"),
        (OBSERVATION, '"Observation"', '"Observations"', "resourceType", "expected Observation"),
    ],
)
def test_a_fault_is_named_with_its_place_and_reason(text, old, new, path, reason):
    told = broken(text, old, new)
    assert any(each.startswith(path) and reason in each for each in told), told


def test_a_required_concept_needs_a_code_of_its_set():
    condition = {"resourceType": "Condition", "subject": {"reference": "Patient/1"}}
    good = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "refuted"}]}
    assert explain(json.dumps({**condition, "verificationStatus": good})) == []
    for bad in ({"text": "refuted"}, {"coding": [{"code": "refuted"}]}, {"coding": [{"system": [], "code": {}}]}):
        told = [str(each) for each in explain(json.dumps({**condition, "verificationStatus": bad}))]
        assert any("Condition.verificationStatus: not a code of condition-ver-status" in each for each in told)


def test_problems_as_an_operation_outcome():
    problems = explain(PATIENT.replace("female", "woman"))
    said = outcome(problems)
    assert said["issue"][0]["expression"] == ["Patient.gender"]
    assert [explain(json.dumps(each)) for each in (said, outcome([]))] == [[], []]
    assert "woman" not in problems[0].place()


def test_references_lead_where_fhir_says():
    url = "http://x.org/fhir/Organization/c"
    doc = bundle(
        entry("urn:uuid:1", "Observation", "a", subject={"reference": "urn:uuid:2"},
              focus=[{"reference": "Patient/b"}]),
        entry("urn:uuid:2", "Patient", "b", managingOrganization={"reference": f"{url}/_history/2"}),
        entry(url, "Organization", "other", partOf={"reference": "Organization/d"}),
        entry("http://x.org/fhir/Organization/d", "Organization", endpoint=[{"reference": "#e"}],
              contained=[{"resourceType": "Endpoint", "id": "e", "managingOrganization": {"reference": "#"}}]),
    )  # fmt: skip
    graph = Graph(nodes_of(doc))
    names = [node.name for node in graph.nodes]
    led = {(names[link.source], link.reference): link.target and names[link.target] for link in graph.links}
    at = "Bundle.entry[{}].resource".format
    assert led == {
        (at(0), "urn:uuid:2"): at(1),
        (at(0), "Patient/b"): at(1),
        (at(1), f"{url}/_history/2"): at(2),
        (at(2), "Organization/d"): at(3),
        (at(3), "#e"): at(3) + ".contained[0]",
        (at(3) + ".contained[0]", "#"): at(3),
    }
    assert [[names[node] for node in circle] for circle in graph.circles()] == [[at(3), at(3) + ".contained[0]"]]


def test_dangling_and_circular_references_are_told():
    doc = bundle(
        entry("urn:uuid:1", "Organization", "a", partOf={"reference": "Organization/b"}),
        entry("urn:uuid:2", "Organization", "b", partOf={"reference": "urn:uuid:1"}),
        entry("urn:uuid:3", "Organization", "c", partOf={"reference": "Organization/c"}),
        entry("urn:uuid:4", "Organization", "d", partOf={"reference": "urn:uuid:9"}),
        entry("urn:uuid:5", "Organization", "e", partOf={"reference": "Organization/nobody"}),
        entry("urn:uuid:6", "Organization", "f", partOf={"reference": "https://elsewhere.org/Organization/1"}),
    )
    told = {(each.path, each.what, each.severity) for each in read(json.dumps(doc)).problems}
    at = "Bundle.entry[{}].resource".format
    assert told == {
        (at(3) + ".partOf.reference", "leads to nothing", "error"),
        (at(4) + ".partOf.reference", "leads to nothing at hand", "warning"),
        (at(0), "references in a circle", "warning"),
        (at(2), "a reference to itself", "warning"),
    }
    with pytest.raises(InvalidRequest, match=r"entry\[3\].*leads to nothing: got 'urn:uuid:9'"):
        read(json.dumps(doc)).required()


def test_one_broken_line_is_named_and_the_rest_is_read():
    lines = [
        b'{"resourceType":"Patient","id":"1"}',
        b'{"resourceType":"Patient",',
        b"",
        b'{"resourceType":"Patient","id":"2","gender":"m"}',
        b'{"resourceType":"Patient","id":"1"}',
        b'{"resourceType":"Patient","id":"\xff"}',
    ]
    records = read_ndjson(lines, "Patient.ndjson")
    assert [node.name for node in records.nodes] == [f"Patient.ndjson line {at}" for at in (1, 4, 5)]
    told = [str(each) for each in records.problems]
    assert told[0].startswith("Patient.ndjson line 2, line 1, column 27: not JSON")
    assert told[1].startswith("Patient.ndjson line 4: Patient.gender: not a code")
    assert told[2].startswith("Patient.ndjson line 6: not UTF-8: got byte 0xff")
    assert (
        told[3]
        == "Patient.ndjson line 5: stands twice: got Patient/1, expected one other than Patient.ndjson line 1's."
    )
    assert len(told) == 4


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deep"),
        ('{"resourceType":"Basic","a":' + "[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1) + "}", "nested too deep"),
        ('{"resourceType":"Basic","a":1e99999999999999999999}', "out of range"),
        ('{"resourceType":"Basic","a":"\\ud800"}', "half a surrogate pair"),
        ("", "not JSON"),
        ("[]", "not a resource"),
        ("null", "not a resource"),
    ],
)
def test_hostile_documents_get_one_sentence(text, reason):
    assert [reason in str(each) for each in explain(text)] == [True]


def test_large_and_circular_documents_are_read_and_larger_ones_refused():
    ring = 12_000
    one = {"status": "final", "code": {"text": "a" * 200}}
    members = [[{"reference": f"urn:x:{(at + 1) % ring}"}] for at in range(ring)]
    doc = bundle(*(entry(f"urn:x:{at}", "Observation", **one, hasMember=each) for at, each in enumerate(members)))
    text = json.dumps(doc)
    assert len(text) > 4_000_000
    problems = read(text).problems
    assert [each.what for each in problems] == ["references in a circle"]
    assert "and 11994 more" in problems[0].got
    with pytest.raises(RequestTooLarge, match="too large: got 4,"):
        read(text, most=1_000_000)
    assert len(explain(text.replace("final", "bad"))) < 100


def test_no_damage_is_an_exception():
    draw = random.Random(7)
    junk = [None, True, 0, -1, "", "x", [], {}, [[]], [None], {"a": 1}, {"reference": 5}, {"coding": 3}, [{"code": []}]]
    for _ in range(1500):
        doc = json.loads(
            draw.choice([PATIENT, OBSERVATION, json.dumps(bundle(entry("urn:x", "Condition", "c"), kind="document"))])
        )
        holders = [part for _, part, _ in walk(doc) if isinstance(part, dict | list) and part]
        for _ in range(draw.randint(1, 3)):
            holder = draw.choice(holders)
            at = draw.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            holder[at] = draw.choice(junk)
        assert all(str(each) for each in explain(json.dumps(doc)))


def test_every_way_to_break_is_explained():
    numbers = evaluate_fhir({"patient": PATIENT.encode(), "observation": OBSERVATION.encode()})
    assert (numbers.examples, numbers.lossless, numbers.plain_json_lossless, numbers.faults) == (2, 2, 0, {})
    assert numbers.missed == []
    assert len(numbers.broken) >= len(WAYS)
    assert len({one.text for one in break_each(parse(PATIENT), 1)}) > 12


def test_official_examples(mirror_of):
    folder = mirror_of("fhir-r4-examples") / "fhir-r4-examples" / "package"
    examples = {path.name: path.read_bytes() for path in sorted(folder.glob("*.json"))[::6]}
    numbers = evaluate_fhir(examples)
    assert numbers.lossless_rate == 1.0
    assert numbers.missed == []
    assert len(numbers.faults) <= 2


def test_reading_needs_nothing_heavy():
    code = (
        "import sys, healthcare.medical_records.fhir.read, healthcare.medical_records.fhir.write\n"
        "print(sorted({'numpy', 'scipy', 'torch', 'pandas', 'transformers', 'sklearn', 'fhir'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
