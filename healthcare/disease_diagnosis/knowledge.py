"""What medicine knows of the published columns: which test they come from, units people mix up, codes of FHIR."""

from __future__ import annotations

from typing import Any

from healthcare.disease_diagnosis.fields import OtherUnit

HEART, BREAST, CHEST = "uci-heart-disease", "breast-cancer-wisconsin", "pneumoniamnist"
FINDINGS: dict[str, tuple[str, ...]] = {
    HEART: ("no coronary artery disease", "coronary artery disease"),
    BREAST: ("benign", "malignant"),
    CHEST: ("normal", "pneumonia"),
}
"""What the labels 0 and 1 of a model mean."""
SEVERITY = (FINDINGS[HEART][0], *(f"coronary artery disease, grade {grade} of 4" for grade in range(1, 5)))
"""What the labels 0 to 4 of angiography mean."""
UNGRADED = "hungary"
"""The centre that wrote 1 for disease of every grade."""
BEDSIDE = ("", "cholesterol", "blood sugar")
"""Tests that come before any exercise, tracer or catheter."""
FURTHER = {
    "exang": ("no angina under exercise", "angina under exercise"),
    "thal": ("normal perfusion", "perfusion defect"),
}
"""What other examinations find beside angiography: the usual level of a field, and any other."""
USUAL = {"exang": "no", "thal": "normal"}

# LOINC only where a code says exactly what the column holds; the others are asked for by their own names.
FACTS: dict[str, dict[str, dict[str, Any]]] = {
    HEART: {
        "age": {"loinc": ("30525-0",), "sensitive": True},
        "sex": {"loinc": ("46098-0",), "sensitive": True},
        "trestbps": {
            "loinc": ("8480-6",),
            "minimum": 50,
            "other_units": (OtherUnit(unit="kPa", low=5, high=35, factor=7.50062),),
        },
        "chol": {
            "test": "cholesterol",
            "loinc": ("2093-3",),
            "minimum": 50,
            "other_units": (OtherUnit(unit="mmol/L", low=1, high=20, factor=38.67),),
        },
        "fbs": {"test": "blood sugar"},
        "thalach": {"test": "exercise"},
        "exang": {"test": "exercise"},
        "oldpeak": {"test": "exercise"},
        "slope": {"test": "ST slope"},
        "ca": {"test": "fluoroscopy"},
        "thal": {"test": "thallium"},
    },
}
CLEVELAND = {"diseased": 139, "healthy": 164}
"""Patients of Cleveland by label; copies with these two changed over are in circulation."""
OFFICIAL = {"train": (1214, 3494), "val": (135, 389), "test": (234, 390)}
"""Normal and pneumonia by part of PneumoniaMNIST (MedMNIST v2, info.py)."""
NOT_MEASURED = {"chol": 0.0, "trestbps": 0.0}
"""What the file writes for a value that was not measured."""
