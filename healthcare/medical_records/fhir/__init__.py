"""FHIR R4 (4.0.1): read without loss, validate with a reason, resolve references, and write what a note says.

The structure is HL7's own, as two tables (`structure.tsv`, `codes.tsv`, made by `define.py`): every type, cardinality,
choice, reference target and required code of R4, and nothing to install. `fhir.resources` 8.3 (BSD, alive, pydantic 2)
was measured first: it speaks R4B and not R4, changes 11 of the 342 official examples on the way through, and takes a
third of the broken documents of `breakers` for sound, among them every wrong code and every reference to a wrong type.
It stays the second opinion of the tests.
"""
