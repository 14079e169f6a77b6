"""A bundle is ready when it answers its golden examples as it did when it was saved."""

from __future__ import annotations

import math
from typing import Any

from common.bundle.folder import Bundle
from common.errors import BundleError
from common.system import Predictor, find

# Same bits on one machine; another processor's exp() may differ in the last one.
RELATIVE_TOLERANCE = 1e-9


def open_predictor(bundle: Bundle, device: str = "cpu") -> Predictor:
    """Load the system's predictor from a bundle and run the golden examples.

    A predictor whose floats differ between processors names a `tolerance` and, in `approximate`, fields that it makes
    of such floats and that are not compared. Raises `BundleError` naming the first field whose answer differs.
    """
    predictor: Predictor = find(bundle.manifest.system).load("predictor").load(bundle, device)
    pairs = bundle.examples()
    answers = predictor.predict([predictor.request.model_validate(pair["request"]) for pair in pairs])
    tolerance = getattr(predictor, "tolerance", RELATIVE_TOLERANCE)
    approximate: frozenset[str] = getattr(predictor, "approximate", frozenset())
    for number, (pair, answer) in enumerate(zip(pairs, answers, strict=True), start=1):
        golden, found = (
            {name: value for name, value in fields.items() if name not in approximate}
            for fields in (pair["response"], answer.model_dump(mode="json"))
        )
        difference = first_difference(golden, found, tolerance=tolerance)
        if difference:
            field, expected, got = difference
            raise BundleError(
                f"golden example {number} is answered differently",
                where=f"bundle {bundle.path}, field {field}",
                got=repr(got),
                expected=repr(expected),
                fix="train the bundle again with the installed library versions",
            )
    return predictor


def first_difference(
    expected: Any, got: Any, field: str = "", tolerance: float = RELATIVE_TOLERANCE
) -> tuple[str, Any, Any] | None:
    """Path, expected and got value of the first difference between two JSON values, or None."""
    if isinstance(expected, dict) and isinstance(got, dict) and expected.keys() == got.keys():
        parts = ((f"{field}.{key}".lstrip("."), expected[key], got[key]) for key in expected)
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        parts = ((f"{field}[{i}]", e, g) for i, (e, g) in enumerate(zip(expected, got, strict=True)))
    elif isinstance(expected, float) and isinstance(got, float):
        return (
            None if math.isclose(expected, got, rel_tol=tolerance, abs_tol=tolerance * 1e-3) else (field, expected, got)
        )
    else:
        return None if expected == got else (field, expected, got)
    return next((found for path, e, g in parts if (found := first_difference(e, g, path, tolerance))), None)
