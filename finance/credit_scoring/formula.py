"""Derived fields as formulas: text such as `max(PAY_0, PAY_2) / LIMIT_BAL`, kept as data in the bundle.

One text runs four ways with the same bits: on a record, on columns, as Python source and as SQL.
That holds because only IEEE-exact operations are known: `+ - * /`, comparisons, `min`, `max`, `abs`,
`count(conditions)` and `when(condition, then, otherwise)`; no logarithm, whose last bit differs
between libraries (bins and trees do not need one). A formula is missing when any of its fields is
missing or any divisor is zero.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np

from common.errors import UsageError

OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
COMPARISONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "=="}
FUNCTIONS = ("min", "max", "abs", "count", "when")
NAN = float("nan")


@dataclass(frozen=True)
class Formula:
    """One derived field. Raises `UsageError` for a text outside the language."""

    text: str

    def __post_init__(self) -> None:
        for node in ast.walk(self._tree):
            self._check(node)

    @cached_property
    def _tree(self) -> ast.expr:
        try:
            return ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            raise UsageError("not a formula", where=self.text, got=error.msg) from None

    def _check(self, node: ast.AST) -> None:
        ok = isinstance(
            node, (ast.Name, ast.Load, ast.BinOp, ast.UnaryOp, ast.USub, ast.Compare, *OPERATORS, *COMPARISONS)
        )
        ok = ok or (isinstance(node, ast.Constant) and type(node.value) in (int, float))
        ok = ok or (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in FUNCTIONS
            and not node.keywords
            and bool(node.args)
        )
        ok = ok and not (isinstance(node, ast.Compare) and len(node.ops) > 1)
        if not ok:
            known = "fields, numbers, + - * /, one comparison at a time, " + ", ".join(
                f"{name}()" for name in FUNCTIONS
            )
            raise UsageError(
                "not part of the formula language", where=self.text, got=type(node).__name__, expected=known
            )

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Raw fields the formula reads, in order of appearance."""
        names = [n.id for n in ast.walk(self._tree) if isinstance(n, ast.Name) and n.id not in FUNCTIONS]
        return tuple(dict.fromkeys(names))

    @cached_property
    def _divisors(self) -> list[ast.expr]:
        """Divisors that can be zero; a number written in the formula cannot."""
        divisions = [n.right for n in ast.walk(self._tree) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Div)]
        return [divisor for divisor in divisions if not isinstance(divisor, ast.Constant)]

    @cached_property
    def on_record(self) -> Callable[[Mapping[str, Any]], float]:
        """The formula as a function of one record; NaN when missing."""
        # The tree was checked node by node above, so this code can only do arithmetic.
        code = f"def run(r):\n{self.python('r', indent='    ')}"
        scope: dict[str, Any] = {"NAN": NAN}
        exec(compile(code, f"<formula {self.text}>", "exec"), scope)
        return scope["run"]

    def python(self, record: str, indent: str) -> str:
        """Statements that return the value for the dictionary named `record`."""
        missing = " or ".join(f"{record}[{f!r}] is None or {record}[{f!r}] != {record}[{f!r}]" for f in self.fields)
        zero = " or ".join(f"({_python(d, record)}) == 0" for d in self._divisors)
        lines = [f"if {missing}: return NAN"]
        lines += [f"if {zero}: return NAN"] if zero else []
        return "\n".join(indent + line for line in [*lines, f"return float({_python(self._tree, record)})"])

    def on_columns(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """The formula on float64 columns, shape (n,); NaN where missing."""
        with np.errstate(all="ignore"):
            value = np.array(_columns(self._tree, columns), dtype=float)
            missing = reduce(np.logical_or, [np.isnan(columns[field]) for field in self.fields])
            for divisor in self._divisors:
                missing = missing | (_columns(divisor, columns) == 0)
        return np.where(missing, NAN, value)

    def sql(self, maximum: str = "max", minimum: str = "min") -> str:
        """SQL expression; `max`/`min` are SQLite's, PostgreSQL calls them `greatest`/`least`."""
        names = {"max": maximum, "min": minimum}
        missing = [f'"{field}" IS NULL' for field in self.fields]
        missing += [f"({_sql(divisor, names)}) = 0" for divisor in self._divisors]
        return f"CASE WHEN {' OR '.join(missing)} THEN NULL ELSE {_sql(self._tree, names)} END"


def _python(node: Any, record: str) -> str:
    match node:
        case ast.Constant(value=int() | float() as number):
            return repr(float(number))
        case ast.Name():
            return f"{record}[{node.id!r}]"
        case ast.UnaryOp():
            return f"(-{_python(node.operand, record)})"
        case ast.BinOp():
            return f"({_python(node.left, record)} {OPERATORS[type(node.op)]} {_python(node.right, record)})"
        case ast.Compare():
            left, right = _python(node.left, record), _python(node.comparators[0], record)
            return f"({left} {COMPARISONS[type(node.ops[0])]} {right})"
    parts = [_python(part, record) for part in node.args]
    match node.func.id:
        case "count":
            return f"({' + '.join(parts)})"
        case "when":
            return f"({parts[1]} if {parts[0]} else {parts[2]})"
    return f"{node.func.id}({', '.join(parts)})"


def _columns(node: Any, columns: Mapping[str, np.ndarray]) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name():
            return columns[node.id]
        case ast.UnaryOp():
            return -_columns(node.operand, columns)
        case ast.BinOp():
            left, right = _columns(node.left, columns), _columns(node.right, columns)
            operation: Any = {ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide}[
                type(node.op)
            ]
            return operation(left, right)
        case ast.Compare():
            left, right = _columns(node.left, columns), _columns(node.comparators[0], columns)
            comparison: Any = {
                ast.Lt: np.less,
                ast.LtE: np.less_equal,
                ast.Gt: np.greater,
                ast.GtE: np.greater_equal,
                ast.Eq: np.equal,
            }[type(node.ops[0])]
            return comparison(left, right)
    parts = [_columns(part, columns) for part in node.args]
    match node.func.id:
        case "count":
            return reduce(np.add, [np.asarray(part, dtype=float) for part in parts])
        case "when":
            return np.where(*parts)
        case "abs":
            return np.abs(parts[0])
    return reduce(np.maximum if node.func.id == "max" else np.minimum, parts)


def _sql(node: Any, names: Mapping[str, str]) -> str:
    match node:
        case ast.Constant(value=int() | float() as number):
            return repr(float(number))
        case ast.Name():
            return f'CAST("{node.id}" AS DOUBLE PRECISION)'
        case ast.UnaryOp():
            return f"(-{_sql(node.operand, names)})"
        case ast.BinOp():
            return f"({_sql(node.left, names)} {OPERATORS[type(node.op)]} {_sql(node.right, names)})"
        case ast.Compare():
            sign = COMPARISONS[type(node.ops[0])].replace("==", "=")
            return f"({_sql(node.left, names)} {sign} {_sql(node.comparators[0], names)})"
    parts = [_sql(part, names) for part in node.args]
    match node.func.id:
        case "count":
            return "(" + " + ".join(f"CASE WHEN {part} THEN 1.0 ELSE 0.0 END" for part in parts) + ")"
        case "when":
            return f"CASE WHEN {parts[0]} THEN {parts[1]} ELSE {parts[2]} END"
        case "abs":
            return f"abs({parts[0]})"
    return f"{names[node.func.id]}({', '.join(parts)})"
