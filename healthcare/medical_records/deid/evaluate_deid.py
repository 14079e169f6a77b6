"""How well identifiers are found: `presidio-synth-pii` by template, and simulated notes in English and Chinese.

Protocol `template-split`: the sentences whose template (field `masked`) is in the test third by `data.part_of`; rules
were written and the tagger was fitted on the other templates only, with values drawn anew and with the simulator's
train part. All 17 types count. What is compared:

- `recall`, `precision`, `f1`: letters and digits, whether masked or not, of whatever kind: what a reader of the
  masked text can still read, and what is lost to him for nothing. The binary measure of de-identification (as Stubbs
  et al., 2015, i2b2 2014 track 1, measure tokens).
- `recall_whole`: identifiers of which not one letter or digit stays.
- `recall_hipaa`: letters and digits of the types that are among HIPAA's 18, all but ORGANIZATION, TITLE and NRP.
- `typed_f1`: letters and digits with the right kind; `span_f1`, `span_recall`: first and last character and kind are
  right.

The 17 types are read as our kinds (`data.KIND`: street, place and postcode are one, card and IBAN are one, a fax that
is found is a telephone), and locations with nothing but blanks and commas between them are one, in what is true and in
what is found alike: the set cuts the same address now in one and now in five. Intervals draw whole templates.

Protocol `simulated-en`, `simulated-zh`: clinical lines of the test part of `simulator.py`, whose English names,
places and employers the train part does not have either; `recall_<kind>` for every kind. The same hand wrote lines
and rules: an upper bound. Protocol `synthea-notes` (if its files are given): notes of ten synthetic patients;
`recall` is the share of mentions of the patient's given names and surnames that are masked when nothing is known of
the patient.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from common.evaluation.report import Metric
from healthcare.medical_records.deid.data import read_presidio
from healthcare.medical_records.deid.deidentify import Deidentifier
from healthcare.medical_records.deid.identifiers import HIPAA, KINDS, Identifier, Kind, resolve
from healthcare.medical_records.deid.simulator import Annotated, simulate

DRAWS = 1_000
NOTES, PATIENTS = "DocumentReference.000.ndjson", "Patient.000.ndjson"
COUNTS = ("both", "found", "true", "typed", "hipaa", "hipaa_found", "whole", "spans_both", "spans_found", "spans_true")


def evaluate_deid(
    deidentifier: Deidentifier,
    presidio: Mapping[str, Path] | None = None,
    synthea: Mapping[str, Path] | None = None,
    *,
    variants: int = 20,
    seed: int = 0,
) -> dict[str, dict[str, Metric]]:
    """Metrics by protocol; `presidio` and `synthea` are what `fetch` gives for their cards.

    Raises `SchemaError` for other files.
    """
    found = {}
    if presidio is not None:
        found["template-split"] = measured(deidentifier, read_presidio(presidio, part="test"), same={"fax": "phone"})
    texts = simulate(seed, variants, part="test")
    for language in ("en", "zh"):
        some = [one for one in texts if one.language == language]
        found[f"simulated-{language}"] = measured(deidentifier, some) | by_kind(deidentifier, some)
    if synthea is not None:
        found["synthea-notes"] = names_of_patients(deidentifier, synthea)
    return found


def measured(
    deidentifier: Deidentifier, texts: Sequence[Annotated], *, same: Mapping[str, Kind] | None = None
) -> dict[str, Metric]:
    """The metrics of the module's docstring, over annotated texts; intervals draw whole templates.

    `same` maps kinds that are found to those that the texts know.
    """
    known = same or {}
    counts = np.array(
        [
            _counted(one, [replace(it, kind=known.get(it.kind, it.kind)) for it in deidentifier.find(one.text)])
            for one in texts
        ],
        float,
    )
    groups = np.unique([one.template for one in texts], return_inverse=True)[1]
    total = np.stack([np.bincount(groups, weights=column) for column in counts.T], axis=1)  # templates, counts
    drawn = np.random.default_rng(0).integers(0, len(total), (DRAWS, len(total)))
    draws = {name: total[drawn][:, :, at].sum(axis=1) for at, name in enumerate(COUNTS)}
    sums = {name: total[:, at].sum() for at, name in enumerate(COUNTS)}
    ratios = {
        "recall": (("both",), ("true",)),
        "precision": (("both",), ("found",)),
        "f1": (("both", "both"), ("true", "found")),
        "recall_whole": (("whole",), ("spans_true",)),
        "recall_hipaa": (("hipaa_found",), ("hipaa",)),
        "typed_f1": (("typed", "typed"), ("true", "found")),
        "span_recall": (("spans_both",), ("spans_true",)),
        "span_f1": (("spans_both", "spans_both"), ("spans_true", "spans_found")),
    }
    made = {}
    for name, (above, below) in ratios.items():
        value = sum(sums[one] for one in above) / max(sum(sums[one] for one in below), 1)
        chance = sum(draws[one] for one in above) / np.maximum(sum(draws[one] for one in below), 1)
        low, high = np.quantile(chance, [0.025, 0.975])
        n = int(sums["spans_true"])
        made[name] = Metric(value=float(value), low=min(float(low), value), high=max(float(high), value), n=n)
    return made


def by_kind(deidentifier: Deidentifier, texts: Sequence[Annotated]) -> dict[str, Metric]:
    """`recall_<kind>`: identifiers of a kind that are wholly masked, with Wilson's interval."""
    from common.evaluation.metrics import wilson

    hit: dict[str, list[bool]] = {}
    for one in texts:
        covered = _kinds(deidentifier.find(one.text))
        for it in _merged(one):
            hit.setdefault(it.kind, []).append(_whole(it, covered))
    made = {}
    for kind in (kind for kind in KINDS if kind in hit):
        low, high = wilson(sum(hit[kind]), len(hit[kind]))
        value = float(np.mean(hit[kind]))
        made[f"recall_{kind}"] = Metric(value=value, low=float(low), high=float(high), n=len(hit[kind]))
    return made


def names_of_patients(deidentifier: Deidentifier, files: Mapping[str, Path]) -> dict[str, Metric]:
    """Of Synthea's notes, whose names lose the digits that it appends: mentions of the patient's names masked."""
    from common.evaluation.metrics import wilson

    names = {}
    for patient in map(json.loads, files[PATIENTS].read_text(encoding="utf-8").splitlines()):
        words = {word for name in patient["name"] for word in (name["family"], *name["given"])}
        names[f"Patient/{patient['id']}"] = {re.sub(r"\d+", "", word) for word in words}
    hit = total = 0
    for document in map(json.loads, files[NOTES].read_text(encoding="utf-8").splitlines()):
        note = base64.b64decode(document["content"][0]["attachment"]["data"]).decode()
        note = re.sub(r"(?<=[a-z])\d{1,3}\b", "", note)
        own = "|".join(map(re.escape, names[document["subject"]["reference"]]))
        covered = _kinds(deidentifier.find(note))
        for mention in re.finditer(rf"\b(?:{own})\b", note):
            total += 1
            hit += all(place in covered for place in range(*mention.span()))
    low, high = wilson(hit, max(total, 1))
    return {"recall": Metric(value=hit / max(total, 1), low=float(low), high=float(high), n=total)}


def _counted(text: Annotated, found: Sequence[Identifier]) -> tuple[int, ...]:
    """What `COUNTS` names, of one text."""
    truth = _merged(text)
    own, other = _kinds(truth), _kinds(found)
    letters = [at for at, c in enumerate(text.text) if c.isalnum()]
    hipaa = [at for at in letters if own.get(at) in HIPAA]
    spans, marks = ({(it.kind, it.start, it.end) for it in some} for some in (truth, found))
    return (
        sum(at in own and at in other for at in letters),
        sum(at in other for at in letters),
        sum(at in own for at in letters),
        sum(at in own and own[at] == other.get(at) for at in letters),
        len(hipaa),
        sum(at in other for at in hipaa),
        sum(_whole(it, other) for it in truth),
        len(spans & marks),
        len(marks),
        len(spans),
    )


def _merged(text: Annotated) -> list[Identifier]:
    return resolve(text.text, ((it.kind, it.start, it.end) for it in text.identifiers))


def _kinds(found: Sequence[Identifier]) -> dict[int, str]:
    return {at: it.kind for it in found for at in range(it.start, it.end)}


def _whole(it: Identifier, covered: Mapping[int, str]) -> bool:
    return all(at in covered for at in range(it.start, it.end) if it.text[at - it.start].isalnum())
