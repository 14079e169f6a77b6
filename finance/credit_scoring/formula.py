"""Derived fields as formulas: text such as `max(PAY_0, PAY_2) / LIMIT_BAL`, kept as data in the bundle.

One text runs four ways with the same bits: on a record, on columns, as Python source and as SQL.
That holds because only IEEE-exact operations are known: `+ - * /`, comparisons, `min`, `max`, `abs`,
`count(conditions)` and `when(condition, then, otherwise)`; `log` is not exact by the standard, so all
four use the C library's (NumPy's own may differ in the last bit). A formula is missing when any of its
fields is missing, any divisor is zero, or any logarithm is of nothing positive; `min` and `max` of a
NaN (infinity less infinity) are NaN.
"""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, reduce
from typing import Any, Literal

import numpy as np
import pyarrow.compute as arrow

from common.errors import UsageError

OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
COMPARISONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "=="}
# Least and most number of arguments.
FUNCTIONS = {"min": (2, 99), "max": (2, 99), "abs": (1, 1), "log": (1, 1), "count": (1, 99), "when": (3, 3)}
NAN = float("nan")
Dialect = Literal["sqlite", "postgresql"]
# SQLite's max and min give NULL when one argument is NULL, as a formula does; PostgreSQL's skip NULL.
IN_SQL = {
    "sqlite": {"max": "max", "min": "min", "abs": "abs", "log": "ln"},
    "postgresql": {"max": "greatest", "min": "least", "abs": "abs", "log": "ln"},
}
# What the statements of `Formula.python` call; a compiled module carries this text too.
HELPERS = """
from math import log

NAN = float("nan")


def unknown(values):
    # Without a NaN the sum is rarely one (infinity less infinity), and it costs a tenth of the loop.
    total = sum(values)
    return total != total and any(value != value for value in values)


def lowest(*values):
    return NAN if unknown(values) else min(values)


def highest(*values):
    return NAN if unknown(values) else max(values)
"""


@dataclass(frozen=True)
class Formula:
    """One derived field. Raises `UsageError` for a text outside the language."""

    text: str

    def __post_init__(self) -> None:
        self._check(self._tree, condition=False)
        if not self.fields:
            raise UsageError("a formula reads at least one field", where=self.text)

    @cached_property
    def _tree(self) -> ast.expr:
        try:
            return ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            raise UsageError("not a formula", where=self.text, got=error.msg) from None

    def _check(self, node: ast.AST, condition: bool) -> None:
        """Refuse what one of the four languages reads differently: a comparison is only a condition, and only that."""
        if condition:
            match node:
                case ast.Compare(left=left, ops=[comparison], comparators=[right]) if type(comparison) in COMPARISONS:
                    return self._check_all([left, right])
            raise self._refusal(node, "a comparison such as a > 0")
        match node:
            case ast.Constant(value=int() | float() as value) if abs(value) <= sys.float_info.max:
                if not isinstance(value, bool):
                    return None
            case ast.Name(id=name) if name not in FUNCTIONS:
                return None
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._check(operand, condition=False)
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in OPERATORS:
                return self._check_all([left, right])
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
                least, most = FUNCTIONS[name]
                if not least <= len(arguments) <= most:
                    raise self._refusal(node, f"{least} arguments of {name}()")
                for i, argument in enumerate(arguments):
                    self._check(argument, condition=name == "count" or (name == "when" and i == 0))
                return None
        known = ", ".join(f"{name}()" for name in FUNCTIONS)
        raise self._refusal(node, f"fields, numbers, + - * / and {known}")

    def _check_all(self, nodes: list[ast.expr]) -> None:
        for node in nodes:
            self._check(node, condition=False)

    def _refusal(self, node: ast.AST, expected: str) -> UsageError:
        return UsageError(
            "not part of the formula language", where=self.text, got=repr(ast.unparse(node)), expected=expected
        )

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Raw fields the formula reads, in order of appearance."""
        names = [n.id for n in ast.walk(self._tree) if isinstance(n, ast.Name) and n.id not in FUNCTIONS]
        return tuple(dict.fromkeys(names))

    @cached_property
    def _guards(self) -> list[tuple[ast.expr, str]]:
        """What makes the formula missing: divisors that are 0, logarithms of at most 0.

        Innermost first, so that `b / c` is tested after `c`.
        """
        found: list[tuple[Any, str]] = []
        for node in ast.walk(self._tree):
            match node:
                case ast.BinOp(op=ast.Div(), right=divisor):
                    found.append((divisor, "=="))
                case ast.Call(func=ast.Name(id="log"), args=[argument]):
                    found.append((argument, "<="))
        return [(n, sign) for n, sign in reversed(found) if getattr(n, "value", 0) <= 0]  # not a number above 0

    @cached_property
    def on_record(self) -> Callable[[Mapping[str, Any]], float]:
        """The formula as a function of one record; NaN when missing."""
        # The tree was checked node by node above, so this code can only do arithmetic.
        code = f"def run(r):\n{self.python('r', indent='    ')}"
        scope: dict[str, Any] = {"log": math.log}
        exec(HELPERS, scope)
        exec(compile(code, f"<formula {self.text}>", "exec"), scope)
        return scope["run"]

    def python(self, record: str, indent: str) -> str:
        """Statements that return the value for the dictionary named `record`; they use `HELPERS`."""
        lines = [f"_{field} = {record}[{field!r}]" for field in self.fields]
        lines += [f"if {' or '.join(f'_{field} is None or _{field} != _{field}' for field in self.fields)}:"]
        lines += ["    return NAN"]
        # Whole numbers would be exact beyond 2**53, where the other languages round.
        lines += [f"_{field} = float(_{field})" for field in self.fields]
        if self._guards:
            tests = [f"{_python(node)} {sign} 0" for node, sign in self._guards]
            lines += [f"if {' or '.join(dict.fromkeys(tests))}:", "    return NAN"]
        return "\n".join(indent + line for line in [*lines, f"return {_python(self._tree)}"])

    def on_columns(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """The formula on float64 columns, shape (n,); NaN where missing."""
        with np.errstate(all="ignore"):
            value = np.array(_columns(self._tree, columns), dtype=float)
            missing = reduce(np.logical_or, [np.isnan(columns[field]) for field in self.fields])
            for node, sign in self._guards:
                guarded = _columns(node, columns)
                missing = missing | (guarded == 0 if sign == "==" else guarded <= 0)
        return np.where(missing, NAN, value)

    def sql(self, dialect: Dialect) -> str:
        """SQL expression over columns of double precision named as the fields; NULL when missing."""
        missing = " OR ".join(f'"{field}" IS NULL' for field in self.fields)
        # One WHEN each: a database may evaluate both sides of OR, but takes WHEN in order.
        tests = [missing, *(f"{_sql(node, dialect)} {sign.replace('==', '=')} 0" for node, sign in self._guards)]
        branches = " ".join(f"WHEN {test} THEN NULL" for test in dict.fromkeys(tests))
        return f"CASE {branches} ELSE {_sql(self._tree, dialect)} END"


def sql_number(value: float, dialect: Dialect) -> str:
    """A literal that the database reads as exactly this float.

    SQLite before 3.43 reads decimals through 64-bit significands, so about one in two thousand is off by
    a bit; those near a rounding boundary are written as a quotient of whole numbers, which is exact.
    """
    text = repr(float(value))
    error = abs(Fraction(text) - Fraction(value)) / Fraction(math.ulp(value))
    plain = error == 0 or (error < Fraction(127, 256) and 1e-15 < abs(value) < 1e15)
    if dialect != "sqlite" or (plain and "e" not in text):
        return text
    mantissa, exponent = math.frexp(value)
    whole, exponent = int(mantissa * 2**53), exponent - 53
    sign, (steps, rest) = "/" if exponent < 0 else "*", divmod(abs(exponent), 52)
    powers = [2**52] * steps + [2**rest]
    return f"({' '.join([str(whole), *(f'{sign} {power}.0' for power in powers)])}) /* {text} */"


def _python(node: Any) -> str:
    match node:
        case ast.Constant(value=int() | float() as number):
            return repr(float(number))
        case ast.Name():
            return f"_{node.id}"
        case ast.UnaryOp():
            return f"(-{_python(node.operand)})"
        case ast.BinOp():
            return f"({_python(node.left)} {OPERATORS[type(node.op)]} {_python(node.right)})"
        case ast.Compare():
            left, right = _python(node.left), _python(node.comparators[0])
            return f"({left} {COMPARISONS[type(node.ops[0])]} {right})"
    parts = [_python(part) for part in node.args]
    match node.func.id:
        case "count":
            return f"float({' + '.join(parts)})"
        case "when":
            return f"({parts[1]} if {parts[0]} else {parts[2]})"
    name = {"min": "lowest", "max": "highest"}.get(node.func.id, node.func.id)
    return f"{name}({', '.join(parts)})"


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
        case "log":
            # Arrow calls the C library's log, as math.log does; NumPy's own differs from it in the last bit.
            return np.asarray(arrow.ln(np.ravel(parts[0])))
    return reduce(np.maximum if node.func.id == "max" else np.minimum, parts)


def _sql(node: Any, dialect: Dialect) -> str:
    match node:
        case ast.Constant(value=int() | float() as number):
            return sql_number(number, dialect)
        case ast.Name():
            return f'"{node.id}"'
        case ast.UnaryOp():
            return f"(-{_sql(node.operand, dialect)})"
        case ast.BinOp():
            return f"({_sql(node.left, dialect)} {OPERATORS[type(node.op)]} {_sql(node.right, dialect)})"
        case ast.Compare():
            sign = COMPARISONS[type(node.ops[0])].replace("==", "=")
            return f"({_sql(node.left, dialect)} {sign} {_sql(node.comparators[0], dialect)})"
    parts = [_sql(part, dialect) for part in node.args]
    match node.func.id:
        case "count":
            return "(" + " + ".join(f"CASE WHEN {part} THEN 1.0 ELSE 0.0 END" for part in parts) + ")"
        case "when":
            return f"CASE WHEN {parts[0]} THEN {parts[1]} ELSE {parts[2]} END"
    return f"{IN_SQL[dialect][node.func.id]}({', '.join(parts)})"
