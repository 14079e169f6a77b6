"""Conditions of rules: text such as `amount > 50000 and customer_count_1d >= 5`, parsed, type-checked, compiled.

The language is field names, numbers, texts in quotes, `+ - * / %`, `< <= > >= == !=` (also chained, texts only `==`
and `!=`), `in` and `not in` a list of constants such as `("a", "b")`, `and or not`, and the functions `min`, `max`,
`abs` and `is_missing`. Nothing else of Python is known.

A missing value is None or NaN. Arithmetic with one is missing, and so is division by zero. Every comparison with one
is false, also `!=` and `not in`; only `is_missing(x)` tells. So `not x > 5` holds where x is missing and `x <= 5` does
not.

One text of Python is made of a condition and runs in two scopes, on one record and on columns: the two can differ only
in the few helpers at the end.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import reduce
from typing import Any, Literal

import numpy as np

from common.errors import InvalidRequest

Kind = Literal["number", "text"]
Schema = Mapping[str, Kind]
"""The fields that conditions may read."""

TRUTH = "condition"
ARITHMETIC = {
    ast.Add: "({} + {})",
    ast.Sub: "({} - {})",
    ast.Mult: "({} * {})",
    ast.Div: "ratio({}, {})",
    ast.Mod: "remainder({}, {})",
}
COMPARISONS = {
    ast.Lt: "({} < {})",
    ast.LtE: "({} <= {})",
    ast.Gt: "({} > {})",
    ast.GtE: "({} >= {})",
    ast.Eq: "({} == {})",
    ast.NotEq: "differ({}, {})",
}
# Least and most number of arguments.
FUNCTIONS = {"min": (2, 99), "max": (2, 99), "abs": (1, 1), "is_missing": (1, 1)}
DEEPEST = 40  # Python's parser refuses 200 nested parentheses; what is written here has one or two for each level
NAN = float("nan")


class MalformedRule(InvalidRequest):
    """A rule or a rule set is not what the language or the schema allows; HTTP 422."""


@dataclass(frozen=True)
class Condition:
    """A compiled condition; `fields` are those it reads, with their kinds."""

    text: str
    fields: Mapping[str, Kind]
    on_record: Callable[[Mapping[str, Any]], bool]
    """Truth for one record. Raises `KeyError` for a field that the record lacks."""
    _on_columns: Callable[[Mapping[str, Any]], Any]

    def on_columns(self, columns: Mapping[str, Any]) -> np.ndarray:
        """Truth for every row, bool of shape (n,), of columns of shape (n,): numbers, or texts (str and None)."""
        with np.errstate(all="ignore"):
            found = self._on_columns(columns)
        return np.broadcast_to(np.asarray(found, bool), len(columns[next(iter(self.fields))]))


def compile_condition(text: str, schema: Schema, where: str) -> Condition:
    """The condition, checked against `schema`; `where` names it in errors.

    Raises `MalformedRule` with the place, what was got and what was expected.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    source = f"(\n{text}\n)"  # in parentheses a long condition may go over several lines
    try:
        tree = ast.parse(source, mode="eval").body
    except SyntaxError as error:
        lines = text.split("\n")
        line, character = (error.lineno or 2) - 1, error.offset or 1
        if line > len(lines):  # it is our own closing parenthesis that comes too early
            line, character = len(lines), len(lines[-1]) + 1
        place = f"{where}, line {max(line, 1)}, character {character}"
        raise MalformedRule("not a condition", where=place, got=error.msg, expected="such as amount > 500") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise MalformedRule("not a condition", where=where, got=str(error) or type(error).__name__) from None
    writer = _Writer(source, schema, where)
    expression = writer.take(TRUTH, tree, 0)
    if not writer.fields:
        raise MalformedRule("a rule reads at least one field", where=where, got=repr(text))
    # The tree was written node by node, so this code can only compare and calculate.
    reading = "".join(f"    _{field} = {kind}(r[{field!r}])\n" for field, kind in writer.fields.items())
    code = compile(f"def run(r):\n{reading}    return {expression}", f"<{where}>", "exec")
    on_record, on_columns = (_bind(code, scope | writer.lists) for scope in (ON_RECORD, ON_COLUMNS))
    return Condition(text, writer.fields, on_record, on_columns)


def near(name: str, known: Iterable[str]) -> str:
    """What to write instead of `name`, or what there is."""
    known = list(known)
    if close := get_close_matches(name, known, 1):
        return f"did you mean {close[0]!r}?"
    return f"known are {', '.join(known[:8]) or 'none'}{', …' if len(known) > 8 else ''}"


def _bind(code: Any, scope: Mapping[str, Any]) -> Any:
    names: dict[str, Any] = {**scope, "__builtins__": {}}
    exec(code, names)
    return names["run"]


class _Writer:
    """Writes a syntax tree as Python, node by node, and refuses every other node."""

    def __init__(self, source: str, schema: Schema, where: str) -> None:
        self.source, self.schema, self.where = source, schema, where
        self.fields: dict[str, Kind] = {}
        self.lists: dict[str, frozenset[Any]] = {}

    def take(self, kind: str, node: ast.expr, depth: int) -> str:
        """The Python of a node that has to be of this kind."""
        found, python = self.write(node, depth + 1)
        if found != kind:
            raise self.refusal(node, f"this is a {found}", f"a {kind}{' such as amount > 500' * (kind == TRUTH)}")
        return python

    def write(self, node: ast.expr, depth: int) -> tuple[str, str]:
        """Kind and Python of a node."""
        if depth > DEEPEST:
            raise self.refusal(node, "nested too deeply", f"at most {DEEPEST} levels")
        match node:
            case ast.Constant(value=str() as value):
                return "text", repr(value)
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                if abs(value) > sys.float_info.max:
                    raise self.refusal(node, "the number is too large", f"at most {sys.float_info.max:g}")
                return "number", repr(float(value))
            case ast.Name(id=name):
                if name not in self.schema:
                    raise self.refusal(node, "unknown field", fix=near(name, self.schema))
                self.fields[name] = self.schema[name]
                return self.schema[name], f"_{name}"
            case ast.UnaryOp(op=ast.USub()):
                return "number", f"(-{self.take('number', node.operand, depth)})"
            case ast.UnaryOp(op=ast.Not()):
                return TRUTH, f"({self.take(TRUTH, node.operand, depth)} ^ True)"
            case ast.BoolOp():
                sign = " & " if isinstance(node.op, ast.And) else " | "
                return TRUTH, f"({sign.join(self.take(TRUTH, value, depth) for value in node.values)})"
            case ast.BinOp() if type(node.op) in ARITHMETIC:
                parts = [self.take("number", part, depth) for part in (node.left, node.right)]
                return "number", ARITHMETIC[type(node.op)].format(*parts)
            case ast.Compare():
                pairs = zip([node.left, *node.comparators], node.ops, node.comparators, strict=False)
                return TRUTH, f"({' & '.join(self.compare(node, *pair, depth) for pair in pairs)})"
            case ast.Call(func=ast.Name(id=name), keywords=[]):
                if name not in FUNCTIONS:
                    raise self.refusal(node.func, "unknown function", fix=near(name, FUNCTIONS))
                return self.call(node, name, depth)
        raise self.refusal(node, "not part of the language of rules", "fields, numbers, texts, comparisons, and or not")

    def call(self, node: ast.Call, name: str, depth: int) -> tuple[str, str]:
        """Kind and Python of a call of a known function."""
        least, most = FUNCTIONS[name]
        if not least <= len(node.args) <= most:
            count = f"{least} argument" if most == least else f"at least {least} arguments"
            raise self.refusal(node, f"wrong number of arguments of {name}()", count)
        if name == "is_missing":
            return TRUTH, f"missing({self.value(node.args[0], depth)[1]})"
        return "number", f"{name}({', '.join(self.take('number', part, depth) for part in node.args)})"

    def value(self, node: ast.expr, depth: int) -> tuple[str, str]:
        """Kind and Python of a number or a text."""
        kind, python = self.write(node, depth + 1)
        if kind == TRUTH:
            raise self.refusal(node, "this is a condition", "a number or a text")
        return kind, python

    def compare(self, whole: ast.expr, left: ast.expr, sign: ast.cmpop, right: ast.expr, depth: int) -> str:
        """The Python of one comparison of a chain."""
        kind, python = self.value(left, depth)
        if isinstance(sign, ast.In | ast.NotIn):
            items = self.constants(kind, right, depth)
            return f"{'within' if isinstance(sign, ast.In) else 'absent'}({python}, {items})"
        if type(sign) not in COMPARISONS:
            raise self.refusal(whole, "unknown comparison", "< <= > >= == != in or not in")
        other, second = self.value(right, depth)
        if kind != other:
            kinds = f"{self.shown(left)} is a {kind}, {self.shown(right)} is a {other}"
            raise self.refusal(whole, f"a {kind} cannot be compared with a {other}", "two of a kind", kinds)
        if kind == "text" and not isinstance(sign, ast.Eq | ast.NotEq):
            raise self.refusal(whole, "texts have no order", "== != in or not in between texts")
        return COMPARISONS[type(sign)].format(python, second)

    def constants(self, kind: str, node: ast.expr, depth: int) -> str:
        """Keeps the constants of `in (...)` as a set; its name."""
        items = node.elts if isinstance(node, ast.Tuple) else []
        bare = [item.operand if isinstance(item, ast.UnaryOp) else item for item in items]
        if not bare or not all(isinstance(item, ast.Constant) for item in bare):
            raise self.refusal(node, "not a list of constants", 'such as ("a", "b") or (1,), with the comma')
        name = f"LIST{len(self.lists)}"
        self.lists[name] = frozenset(ast.literal_eval(self.take(kind, item, depth)) for item in items)
        return name

    def refusal(self, node: ast.expr, what: str, expected: str | None = None, fix: str = "") -> MalformedRule:
        """The error for a node, with its place in the text."""
        before = self.source.split("\n")[node.lineno - 1].encode()[: node.col_offset].decode()
        # The parenthesis before the text has a line of its own.
        place = f"{self.where}, line {max(node.lineno - 1, 1)}, character {len(before) + 1}"
        return MalformedRule(what, where=place, got=repr(self.shown(node)), expected=expected, fix=fix)

    def shown(self, node: ast.expr) -> str:
        """The piece of text that a node is, at most 60 characters of it."""
        piece = ast.get_source_segment(self.source, node) or ""
        return piece if len(piece) <= 60 else f"{piece[:60]}…"


# What the Python of a condition calls: first what is the same on a record and on columns.
def _missing(a: Any) -> Any:
    return a != a


def _differ(a: Any, b: Any) -> Any:
    return (a != b) & (a == a) & (b == b)


def _scope(within: Callable[..., Any], **helpers: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    def absent(a: Any, items: frozenset[Any]) -> Any:
        return (a == a) & (within(a, items) ^ True)

    return {"missing": _missing, "differ": _differ, "abs": abs, "within": within, "absent": absent, **helpers}


def _lowest(*values: float) -> float:
    return min(values) if all(value == value for value in values) else NAN


def _highest(*values: float) -> float:
    return max(values) if all(value == value for value in values) else NAN


def _known(value: Any) -> Any:
    return NAN if value is None else value


ON_RECORD = _scope(
    number=lambda value: NAN if value is None else float(value),
    text=_known,
    ratio=lambda a, b: a / b if b else NAN,
    remainder=lambda a, b: a % b if b else NAN,
    min=_lowest,
    max=_highest,
    within=lambda value, items: value in items,
)
ON_COLUMNS = _scope(
    number=lambda column: np.asarray(column, dtype=float),
    text=lambda column: np.frompyfunc(_known, 1, 1)(np.asarray(column, dtype=object)),
    ratio=lambda a, b: np.where(np.equal(b, 0), NAN, np.divide(a, b)),
    remainder=lambda a, b: np.where(np.equal(b, 0), NAN, np.remainder(a, b)),
    min=lambda *columns: reduce(np.minimum, columns),
    max=lambda *columns: reduce(np.maximum, columns),
    within=lambda column, items: np.asarray(np.frompyfunc(items.__contains__, 1, 1)(column), bool),
)
