"""Terms for the dictionary from openly licensed tables, read at training time.

| table | kinds | codes |
| --- | --- | --- |
| Synthea's FHIR R4 export (Apache-2.0) | disease, symptom, procedure, drug | SNOMED CT as in the export, RxNorm |
| NCBI disease corpus, training part (public domain) | disease | MeSH, OMIM |
| drugref2 of OSCAR (public list, `ddi-open`) | drug | ATC |
| ICD-10-CM (US public domain) by simple-icd-10-cm (MIT), if installed | disease, symptom | ICD-10-CM |
| cEHRNER, training part (Apache-2.0) | all, Chinese | none |
| `abbreviations.toml`, those with one meaning | as the meaning | as the meaning |
| `terms.toml`, our own list | symptom, anatomy, test, procedure | none |

ATC is copyright WHO Collaborating Centre for Drug Statistics Methodology: codes may be used, the index not be sold.
"""

from __future__ import annotations

import csv
import json
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from healthcare.medical_records.abbreviations import known_abbreviations
from healthcare.medical_records.dictionary import Term
from healthcare.medical_records.spans import ATC, MESH, OMIM, RXNORM, SNOMED, Code, Kind

KINDS: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}
ICD10CM = "http://hl7.org/fhir/sid/icd-10-cm"
CHINESE: dict[str, Kind] = {
    "解剖部位": "anatomy",
    "疾病和诊断": "disease",
    "症状": "symptom",
    "药物": "drug",
    "实验室检验": "test",
    "影像检查": "test",
    "手术": "procedure",
}
"""The labels of cEHRNER as kinds."""
_TAG = re.compile(r"\s*\((disorder|finding|situation|procedure|regime/therapy|event|morphologic abnormality)\)$")
_STRENGTH = re.compile(
    r"\s(?:\d[\d.,]*\s?(?:MG|ML|UNT|MCG|GM|MEQ|HR|ACTUAT|%).*|Oral.*|Injection.*|Topical.*)$", re.IGNORECASE
)
_LEADING = re.compile(r"^(?:\d[\d.]*\s?(?:ML|HR|MG|ACTUAT)\s)+", re.IGNORECASE)
_SALT = re.compile(
    r"\s(?:hydrochloride|sodium|sulfate|succinate|tartrate|maleate|besylate|potassium|fumarate|acetate)$", re.I
)
_UNSPECIFIED = re.compile(
    r"^Unspecified "
    r"|,? (?:unspecified.*|site not specified|NOS|without complications?|not elsewhere classified|uncomplicated)$"
)
_BRACKETS = re.compile(r"\s*(?:\([^()]*\)|\[[^\[\]]*\])")
_SQUARE = re.compile(r"\s*\[[^\[\]]*\]")
_ICD = re.compile(r"[A-UZ]\d[0-9A-Z](?:\.[0-9A-Z]{1,3})?")


def own_terms() -> Iterator[Term]:
    """Our own list of everyday words, without codes."""
    table = tomllib.loads(files(__package__).joinpath("terms.toml").read_text(encoding="utf-8"))
    for kind, words in table.items():
        for word in words["en"] + words["zh"]:
            yield Term(word, KINDS[kind], source="own")


def synthea_terms(paths: Mapping[str, Path]) -> Iterator[Term]:
    """Terms of Synthea's conditions, procedures and prescriptions; a drug's ingredient is a term without a code."""
    for name in ("Condition", "Procedure"):
        for coding in _codings(paths[f"{name}.000.ndjson"], "code"):
            tag = _TAG.search(coding["display"])
            kind: Kind = (
                "procedure" if name == "Procedure" else "disease" if tag and tag[1] == "disorder" else "symptom"
            )
            text = _TAG.sub("", coding["display"])
            yield Term(text, kind, (Code(SNOMED, coding["code"], text),), "synthea")
    for coding in _codings(paths["MedicationRequest.000.ndjson"], "medicationCodeableConcept"):
        yield Term(coding["display"], "drug", (Code(RXNORM, coding["code"], coding["display"]),), "synthea")
        for part in coding["display"].split(" / "):
            ingredient = _STRENGTH.sub("", _LEADING.sub("", part)).strip()
            for text in sorted({ingredient, _SALT.sub("", ingredient)}):
                if re.fullmatch(r"[A-Za-z][A-Za-z ,-]{3,40}", text):
                    yield Term(text, "drug", source="synthea")


def ncbi_terms(train: Path) -> Iterator[Term]:
    """Mentions of the training part; one with several concepts has all, commonest first; composite ones have none."""
    concepts: dict[str, Counter[str]] = defaultdict(Counter)
    for line in train.read_text(encoding="utf-8").splitlines():
        cells = line.split("\t")
        if len(cells) == 6 and cells[4] != "Modifier":
            concepts[cells[3]][cells[5].strip()] += 1
    for text, ids in concepts.items():
        if len(text) > 2 and re.search("[a-z]{3}", text):
            single = [one for one, _ in ids.most_common() if not re.search(r"[|+]", one)]
            codes = [Code(OMIM, one[5:], text) if one.startswith("OMIM:") else Code(MESH, one, text) for one in single]
            yield Term(text, "disease", tuple(codes), "ncbi-disease")


def drugref_terms(table: Path) -> Iterator[Term]:
    """Drugs of drugref2 with an ATC code of a substance (seven characters); groups of drugs are left out."""
    codes: dict[str, set[str]] = defaultdict(set)
    with table.open(encoding="utf-8", errors="replace", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            for side in ("affecting", "affected"):
                codes[(row[f"{side}drug"] or "").strip()].add((row[f"{side}atc"] or "").strip())
    for name, own in sorted(codes.items()):
        if (
            len(own) == 1
            and re.fullmatch(r"[A-Z]\d\d[A-Z]{2}\d\d", code := next(iter(own)))
            and name.replace(" ", "").isalpha()
        ):
            yield Term(name.lower(), "drug", (Code(ATC, code, name.lower()),), "drugref2")


def icd10cm_terms() -> Iterator[Term]:
    """Names and inclusion terms of ICD-10-CM without "unspecified", with and without what is in brackets.

    None if it is not installed. Of equal names a title counts before an inclusion term, then the longer code (R05.9
    before R05). Chapter R is symptoms; external causes are left out.
    """
    if find_spec("simple_icd_10_cm") is None:
        return
    icd = import_module("simple_icd_10_cm")
    best: dict[str, tuple[tuple[bool, int], str, str]] = {}
    for code in filter(_ICD.fullmatch, icd.get_all_codes(True)):
        title = icd.get_description(code)
        for name in (title, *icd.get_inclusion_term(code), *icd.get_includes(code)):
            whole = _SQUARE.sub("", name).replace("(", "").replace(")", "")
            texts = {_UNSPECIFIED.sub("", one).strip(" ,").lower() for one in (_BRACKETS.sub("", name), whole)}
            rank = (name == title, len(code))
            spoken = {one.replace("diabetes mellitus", "diabetes") for one in texts}  # as clinicians say it
            for said in sorted(texts | spoken):
                if 3 < len(said) < 70 and (said not in best or rank > best[said][0]):
                    best[said] = (rank, code, title)
    for text, (_, code, title) in best.items():
        yield Term(text, "symptom" if code[0] == "R" else "disease", (Code(ICD10CM, code, title),), "icd-10-cm")


def abbreviation_terms(terms: Iterable[Term]) -> Iterator[Term]:
    """Abbreviations with one meaning, where `terms` has that meaning, with its kind and the first codes it has."""
    known: dict[str, Term] = {}
    for term in terms:
        first = known.setdefault(term.text.lower(), term)
        if term.codes and not first.codes:
            known[term.text.lower()] = Term(first.text, first.kind, term.codes, first.source)
    for short, meanings in known_abbreviations().items():
        if len(meanings) == 1 and (meant := known.get(meanings[0].lower())):
            yield Term(short, meant.kind, meant.codes, "abbreviations")


def chinese_terms(train: Path) -> Iterator[Term]:
    """Mentions of cEHRNER's training part that mostly have one label, and twice at least."""
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    for line in train.read_text(encoding="utf-8").splitlines():
        for mention in json.loads(line)["mention_data"]:
            labels[mention["mention"]][mention["label"]] += 1
    for text, seen in labels.items():
        label, times = seen.most_common(1)[0]
        if len(text) > 1 and times >= 2 and times >= 0.8 * seen.total() and label in CHINESE:
            yield Term(text, CHINESE[label], source="cehrner")


def _codings(path: Path, field: str) -> list[dict[str, Any]]:
    """Every coding with code and display, each once, in order."""
    found: dict[str, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        for coding in json.loads(line).get(field, {}).get("coding", ()):
            if coding.get("display"):
                found.setdefault(coding["code"], coding)
    return list(found.values())
