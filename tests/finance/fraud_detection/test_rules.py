from __future__ import annotations

import ast
import json
import math
import operator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import EspalierError, InvalidRequest, SchemaError
from common.evaluation.metrics import wilson
from finance.fraud_detection.conditions import MalformedRule, compile_condition
from finance.fraud_detection.rules import CompiledRules, RuleBook, RuleSet, VersionTaken, backtest, read_rules

SCHEMA = {"amount": "number", "count": "number", "mean": "number", "customer": "text", "device": "text"}
NAN = math.nan


def rule(name="big", when="amount > 100", action="review", mode="live", reason="a large amount"):
    return {"name": name, "when": when, "action": action, "mode": mode, "reason": reason}


def ruleset(*rules, lists=()):
    return RuleSet.model_validate({"rules": rules, "lists": lists})


def holds(text, **record):
    return compile_condition(text, SCHEMA, "rule 'r'").on_record(record)


# Random conditions -----------------------------------------------------------------------------------------------

values = st.floats() | st.sampled_from([0.0, -0.0, 1.0, 2.0, 7.0, 0.5, -3.0, 1e308, math.inf, NAN, None])
texts = st.sampled_from(["a", "b", "", "é", None])
records = st.fixed_dictionaries({name: values if kind == "number" else texts for name, kind in SCHEMA.items()})
text = st.sampled_from(["customer", "device", "'a'", '"b"', "'é'"])


def grow_number(inner):
    pair = st.tuples(inner, inner)
    return st.one_of(
        st.tuples(inner, st.sampled_from("+-*/%"), inner).map(lambda t: f"({' '.join(t)})"),
        st.tuples(st.sampled_from(["min", "max"]), pair).map(lambda t: f"{t[0]}({t[1][0]}, {t[1][1]})"),
        inner.map(lambda x: f"abs({x})"),
        inner.map(lambda x: f"-{x}"),
    )


number = st.recursive(
    st.sampled_from(["amount", "count", "mean", "0", "1", "2.5", "7", "1e308"]), grow_number, max_leaves=5
)
signs = st.lists(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), min_size=1, max_size=3)
comparison = st.one_of(
    st.tuples(number, signs, st.lists(number, min_size=3, max_size=3)).map(
        lambda t: t[0] + "".join(f" {sign} {right}" for sign, right in zip(t[1], t[2], strict=False))
    ),
    st.tuples(text, st.sampled_from(["==", "!="]), text).map(" ".join),
    st.tuples(number, st.sampled_from(["in", "not in"])).map(lambda t: f"{t[0]} {t[1]} (0, 1, -3.0, 7)"),
    st.tuples(text, st.sampled_from(["in", "not in"])).map(lambda t: f"{t[0]} {t[1]} ('a', 'é')"),
    (number | text).map(lambda x: f"is_missing({x})"),
)
conditions = st.recursive(
    comparison,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({' '.join(t)})"),
        inner.map(lambda x: f"(not {x})"),
    ),
    max_leaves=5,
).map(lambda x: f"{x} or amount == 12345")


def means(node, record):
    """The language as its docstring has it, read off the tree; None is missing."""
    match node:
        case ast.Constant():
            return float(node.value) if isinstance(node.value, int | float) else node.value
        case ast.Name():
            value = record[node.id]
            return None if value is None or value != value else value
        case ast.BoolOp(op=ast.And()):
            return all(means(value, record) for value in node.values)
        case ast.BoolOp():
            return any(means(value, record) for value in node.values)
        case ast.UnaryOp(op=ast.Not()):
            return not means(node.operand, record)
        case ast.Compare():
            operands = [means(part, record) for part in [node.left, *node.comparators]]
            pairs = zip(operands, node.ops, operands[1:], strict=False)
            return all(a is not None and b is not None and OPERATORS[type(op)](a, b) for a, op, b in pairs)
        case ast.Tuple():
            return [means(item, record) for item in node.elts]
        case ast.Call(func=ast.Name(id="is_missing")):
            return means(node.args[0], record) is None
    parts = [
        means(part, record)
        for part in ast.iter_child_nodes(node)
        if isinstance(part, ast.expr) and getattr(part, "id", "") not in CALLS
    ]
    if None in parts or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.Mod) and parts[1] == 0):
        return None
    value = CALLS[node.func.id](*parts) if isinstance(node, ast.Call) else OPERATORS[type(node.op)](*parts)
    return None if value != value else value


CALLS = {"min": min, "max": max, "abs": abs}
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


@settings(max_examples=400, deadline=None, derandomize=True)
@given(conditions, st.lists(records, min_size=1, max_size=6))
def test_records_and_columns_agree_with_each_other_and_with_the_meaning(condition, rows):
    compiled = compile_condition(condition, SCHEMA, "rule 'r'")
    expected = [means(ast.parse(condition, mode="eval").body, row) for row in rows]
    assert [compiled.on_record(row) for row in rows] == expected
    columns = {
        name: np.array([row[name] for row in rows], dtype=float if kind == "number" else object)
        for name, kind in SCHEMA.items()
    }
    found = compiled.on_columns(columns)
    assert found.dtype == bool
    assert found.tolist() == expected


@pytest.mark.parametrize("missing", [None, NAN])
@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("amount > 5", False),
        ("amount <= 5", False),
        ("amount != 5", False),
        ("amount == amount", False),
        ("amount not in (1, 2)", False),
        ("amount * 0 == 0", False),
        ("min(amount, 1) <= 1", False),
        ("not amount > 5", True),
        ("is_missing(amount)", True),
        ("is_missing(amount + 1)", True),
        ("1 < 2 < amount", False),
        ("customer != 'a' or is_missing(amount / 1)", True),
        ("device == customer", False),
        ("device != 'a'", False),
        ("device not in ('a', 'b')", False),
        ("is_missing(device)", True),
    ],
)
def test_a_comparison_with_what_is_missing_is_false(missing, condition, expected):
    record = {"amount": missing, "customer": "a", "device": missing}
    compiled = compile_condition(condition, SCHEMA, "rule 'r'")
    assert bool(compiled.on_record(record)) is expected
    assert compiled.on_columns({name: np.array([v], dtype=object) for name, v in record.items()}).tolist() == [expected]


def test_values():
    assert holds("100 < amount <= 200", amount=200)
    assert not holds("100 < amount <= 200", amount=100)
    assert holds("amount % 100 == 0 and customer in ('C1', 'C2')", amount=500, customer="C2")
    assert holds('device == "it\'s"', device="it's")
    assert holds("amount / count > 3", amount=7, count=2)
    assert not holds("amount / count > 3 or amount / count <= 3", amount=7, count=0)
    assert holds("is_missing(amount / count)", amount=7, count=0)
    assert holds("amount > 5 # cents\n and\n count < 3", amount=6, count=2)


def test_columns_may_be_numpy_texts_and_whole_numbers():
    condition = compile_condition("customer in ('a', 'b') and amount >= 2", SCHEMA, "r")
    columns = {"customer": np.array(["a", "b", "c"]), "amount": np.array([1, 2, 3])}
    assert condition.on_columns(columns).tolist() == [False, True, False]
    assert set(condition.fields) == {"customer", "amount"}


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        ("amonut > 5", "rule 'r', line 1, character 1: unknown field: got 'amonut'; did you mean 'amount'?"),
        ("amount > 5 and\nzzz > 1", "line 2, character 1: unknown field: got 'zzz'; known are amount, count, mean"),
        ("amount > 'x'", "character 1: a number cannot be compared with a text.*amount is a number, 'x' is a text"),
        ("1 < customer", "a number cannot be compared with a text"),
        ("customer < device", "texts have no order: got 'customer < device', expected == != in or not in"),
        ("amount", "this is a number: got 'amount', expected a condition such as amount > 500"),
        ("amount > 1 and customer", "character 16: this is a text: got 'customer', expected a condition"),
        ("not amount", "this is a number"),
        ("customer + 1 > 2", "this is a text: got 'customer', expected a number"),
        ("-customer == 1", "this is a text"),
        ("(amount > 1) + 1 > 0", "this is a condition: got 'amount > 1', expected a number"),
        ("(amount > 1) == (count > 1)", "this is a condition: got 'amount > 1', expected a number or a text"),
        ("is_missing(amount > 1)", "expected a number or a text"),
        ("'é' == 'é' and amonut > 5", "line 1, character 16: unknown field"),
        ("customer in ('a', 1)", "this is a number: got '1', expected a text"),
        ("amount in ('a',)", "this is a text: got \"'a'\", expected a number"),
        ("customer in ('a')", "not a list of constants: got \"'a'\".*with the comma"),
        ("customer in ()", "not a list of constants"),
        ("amount in (count, 1)", "not a list of constants"),
        ("customer in 'abc'", "not a list of constants"),
        ("amount is 5", "unknown comparison"),
        ("amount >", "line 1, character 9: not a condition: got invalid syntax"),
        ("amount > 5)", "not a condition: got unmatched"),
        ("", "not part of the language"),
        ("amount > 1, count > 1", "not part of the language"),
        ("1 < 2", "reads at least one field"),
        ("__import__('os').system('x') == 0 or amount > 1", "not part of the language"),
        ("eval('1') == amount", "unknown function: got 'eval'"),
        ("is_mising(amount)", "unknown function: got 'is_mising'; did you mean 'is_missing'?"),
        ("min(amount) > 1", "wrong number of arguments of min.*expected at least 2"),
        ("abs(amount, 1) > 1", "expected 1 argument"),
        ("min(*amount, 1) > 1", "not part of the language"),
        ("max(amount, key=count) > 1", "not part of the language"),
        ("amount.real > 1", "got 'amount.real'"),
        ("customer[0] == 'a'", "not part of the language"),
        ("amount ** 2 > 1", r"got 'amount \*\* 2'"),
        ("(lambda: 1) == amount", "not part of the language"),
        ("(x := amount) > 1", "not part of the language"),
        ("[amount for amount in (1, 2)] == 1", "not part of the language"),
        ("f'{amount}' == customer", "not part of the language"),
        ("amount > True", "got 'True'"),
        ("amount == None", "got 'None'"),
        ("amount > 1j", "got '1j'"),
        ("amount > 1e999", "too large"),
        ("amount > 1" + "0" * 400, "too large"),
        ("not " * 60 + "amount > 1", "nested too deeply"),
        ("-" * 1900 + "amount > 1", "too deep|too many|not a condition|recursion"),
        ("(" * 900 + "amount" + ")" * 900 + " > 1", "not a condition"),
        ("amount > 1\0", "not a condition"),
        ("customer == '\ud800'", "not a condition"),
    ],
)
def test_what_is_no_condition_is_refused_with_its_place(condition, sentence):
    with pytest.raises(MalformedRule, match=sentence) as error:
        compile_condition(condition, SCHEMA, "rule 'r'")
    assert str(error.value).startswith("rule 'r'")
    assert "\n" not in str(error.value)


# Rule sets -------------------------------------------------------------------------------------------------------


def test_rules_fire_in_order_and_those_that_are_off_do_not():
    rules = ruleset(
        rule("a"), rule("b", mode="off"), rule("c", mode="shadow", when="score > 0.5"), rule("d", "count > 1")
    )
    compiled = CompiledRules(rules, SCHEMA)
    record = {"amount": 200, "score": 0.9, "count": 1}
    assert [fired.name for fired in compiled.fired(record)] == ["a", "c"]
    with pytest.raises(SchemaError, match="got no 'count'"):
        compiled.fired({"amount": 200, "score": 0.9})


def test_while_degraded_only_rules_that_know_their_fields_are_asked():
    rules = ruleset(
        rule("amount"),
        rule("not", when="not count > 1"),
        rule("missing", when="is_missing(mean)"),
        rule("score", when="score > 0.5 or amount > 1"),
        rule("device", when="is_missing(device)"),
    )
    compiled = CompiledRules(rules, SCHEMA)
    for away in ({}, {"count": NAN, "mean": None}):
        fired = compiled.fired({"amount": 200, "device": None, "customer": "a", **away}, degraded=True)
        assert [found.name for found in fired] == ["amount", "device"]


def test_block_wins_over_allow_and_entries_expire():
    entries = [
        {"list": "allow", "entity": "customer", "value": "C1"},
        {"list": "block", "entity": "device", "value": "D1", "until": 1000},
        {"list": "block", "entity": "customer", "value": "C2", "reason": "stolen"},
    ]
    compiled = CompiledRules(ruleset(lists=entries), SCHEMA)
    both = {"customer": "C1", "device": "D1"}
    assert compiled.listed(both, 999).list == "block"
    assert compiled.listed(both, 1000).list == "allow"
    assert compiled.listed({"customer": "C2", "device": None}, 2**61).reason == "stolen"
    assert compiled.listed({"customer": "C3", "device": None}, 0) is None
    assert compiled.listed({}, 0) is None


def test_a_list_is_of_an_entity():
    entries = [{"list": "block", "entity": "custmer", "value": "C1"}]
    with pytest.raises(MalformedRule, match="block list, 'C1': not an entity: got 'custmer'; did you mean 'customer'"):
        CompiledRules(ruleset(lists=entries), SCHEMA)
    with pytest.raises(MalformedRule, match="not an entity"):
        CompiledRules(ruleset(lists=[{"list": "block", "entity": "amount", "value": "5"}]), SCHEMA)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"rules": [rule(action="deny")]}, r"rules\[0\].action: not a rule set: got 'deny', expected 'review'"),
        ({"rules": [rule(), rule()]}, "each rule and entry once, rule 'big' is there twice"),
        ({"rules": [{**rule(), "wehn": "x"}]}, r"rules\[0\].wehn: unknown entry; did you mean 'when'"),
        ({"rules": [rule(mode="on")]}, r"rules\[0\].mode"),
        ({"rules": [rule(name="a b")]}, r"rules\[0\].name"),
        ({"rules": [rule(when="a" * 3000)]}, r"rules\[0\].when.*at most 2000"),
        ({"lists": [{"list": "block", "entity": "customer", "value": 7}]}, r"lists\[0\].value.*got 7"),
        ({"lists": [{"list": "block", "entity": "e", "value": "v"}] * 2}, "e 'v' on the block list is there twice"),
        ([1], "not a rule set"),
    ],
)
def test_what_is_no_rule_set_is_refused_with_its_file_and_place(content, sentence, tmp_path):
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(content))
    with pytest.raises(MalformedRule, match=sentence) as error:
        read_rules(file)
    assert str(error.value).startswith(str(file))
    assert len(str(error.value)) < 600


def test_toml_says_the_same_as_json(tmp_path):
    (tmp_path / "rules.toml").write_text(
        """
        [[rules]]
        name = "big"
        when = "amount > 100"
        action = "review"
        mode = "live"
        reason = "a large amount"
        [[lists]]
        list = "block"
        entity = "customer"
        value = "C1"
        until = 1533686400000
        """
    )
    expected = ruleset(rule(), lists=[{"list": "block", "entity": "customer", "value": "C1", "until": 1533686400000}])
    assert read_rules(tmp_path / "rules.toml") == expected
    (tmp_path / "broken.toml").write_text("[[rules")
    with pytest.raises(MalformedRule, match=r"broken\.toml"):
        read_rules(tmp_path / "broken.toml")


# Backtest --------------------------------------------------------------------------------------------------------


def test_backtest_counts_as_by_hand():
    columns = {
        "amount": np.array([50, 150, 250, 350, 450, np.nan]),
        "customer": np.array(["a", "b", "a", None, "b", "a"], dtype=object),
    }
    fraud, amount = np.array([0, 0, 1, 1, -1, 1]), np.array([50, 150, 250, 350, 450, 9])
    rules = ruleset(
        rule("off", when="amount > 200", mode="off"),
        rule("large", when="amount > 100"),
        rule("a", when="customer == 'a'", mode="shadow", action="decline"),
        rule("never", when="amount < 0"),
    )
    off, large, a, never = backtest(rules, columns, fraud, amount)
    assert (large.hits, large.unknown, large.frauds, large.new_hits) == (4, 1, 2, 4)
    assert (large.precision, large.recall) == (2 / 3, 2 / 3)
    assert large.interval == pytest.approx(tuple(map(float, wilson(2, 3))))
    assert (large.fraud_amount, large.good_amount) == (600, 150)
    assert (a.hits, a.new_hits, a.frauds, a.action, a.mode) == (3, 2, 2, "decline", "shadow")
    assert (off.hits, off.new_hits) == (3, 3)
    assert (never.hits, never.precision, never.interval, never.recall) == (0, None, None, 0.0)


def test_backtest_agrees_with_firing_record_by_record():
    rng = np.random.default_rng(0)
    n = 3000
    columns = {
        "amount": rng.integers(0, 500, n),
        "mean": np.where(rng.random(n) < 0.2, np.nan, rng.random(n)),
        "customer": rng.choice(np.array(["a", "b", None], dtype=object), n),
        "score": rng.random(n),
    }
    rules = ruleset(
        rule("one", when="amount % 7 == 0 and not mean > 0.3"),
        rule("two", when="score > 0.9 or customer not in ('b',)"),
    )
    compiled = CompiledRules(rules, SCHEMA)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    fired = [[r.name for r in compiled.fired(row)] for row in rows]
    hits = {result.name: result.hits for result in backtest(rules, columns, np.zeros(n), np.ones(n, int))}
    assert hits == {name: sum(name in names for names in fired) for name in ("one", "two")}


def test_backtest_without_labels_or_with_unequal_columns():
    (result,) = backtest(ruleset(rule()), {"amount": [200.0]}, [-1], [200])
    assert (result.hits, result.unknown, result.precision, result.recall) == (1, 1, None, None)
    with pytest.raises(SchemaError, match="amount"):
        backtest(ruleset(rule()), {"amount": [200.0, 1.0]}, [-1], [200])
    with pytest.raises(MalformedRule, match=r"rule 'big'.*unknown field"):
        backtest(ruleset(rule()), {"amuont": [200.0]}, [-1], [200])


# The book --------------------------------------------------------------------------------------------------------


def test_every_version_is_kept_and_rolling_back_is_a_new_one(tmp_path):
    book = RuleBook(tmp_path / "rules", SCHEMA)
    assert book.current() == RuleSet()
    assert book.publish(ruleset(rule("a"))) == 1
    assert book.publish(ruleset(rule("b"))) == 2
    first = (tmp_path / "rules" / "000001.json").read_bytes()
    assert book.roll_back(1) == 3
    assert book.versions() == [1, 2, 3]
    assert book.current().rules == book.read(1).rules == ruleset(rule("a")).rules
    assert (book.current().version, book.current().note) == (3, "copy of version 1")
    assert (tmp_path / "rules" / "000001.json").read_bytes() == first
    assert book.roll_back(0) == 4
    assert book.current().rules == ()
    with pytest.raises(InvalidRequest, match="no such version of the rules: got 9, expected 0 to 4"):
        book.roll_back(9)


def test_what_does_not_fit_the_schema_is_not_published(tmp_path):
    book = RuleBook(tmp_path, SCHEMA)
    for bad in (rule(when="amonut > 1"), rule(when="amount > 'x'", mode="off")):
        with pytest.raises(MalformedRule, match="rule 'big'"):
            book.publish(ruleset(bad))
    assert book.versions() == []


def test_writers_at_once_each_get_a_version_of_their_own(tmp_path):
    names = [f"r{i}" for i in range(24)]
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda name: RuleBook(tmp_path, SCHEMA).publish(ruleset(rule(name))), names))
    assert sorted(versions) == list(range(1, 25))
    book = RuleBook(tmp_path, SCHEMA)
    assert [book.read(version).rules[0].name for version in versions] == names


def test_a_change_of_an_old_version_is_refused(tmp_path):
    book = RuleBook(tmp_path, SCHEMA)
    assert book.publish(ruleset(rule("a")), based_on=0) == 1
    with pytest.raises(VersionTaken, match="changed since: got version 1, expected 0") as error:
        book.publish(ruleset(rule("b")), based_on=0)
    assert error.value.status == 409
    assert book.versions() == [1]


def test_left_over_files_do_not_count_and_damaged_ones_are_named(tmp_path):
    book = RuleBook(tmp_path, SCHEMA)
    book.publish(ruleset(rule("a")))
    (tmp_path / ".000002.json.xyz.part").write_text('{"version": 2, "ru')
    (tmp_path / "notes.txt").write_text("x")
    assert book.current().version == 1
    whole = (tmp_path / "000001.json").read_text()
    for damage in (whole[: len(whole) // 2], "", "\x00" * 50, whole.replace('"version": 1', '"version": 7'), "[]"):
        (tmp_path / "000002.json").write_text(damage)
        with pytest.raises(EspalierError, match=r"000002\.json"):
            book.current()
    (tmp_path / "000002.json").write_bytes(b"\xff\xfe")
    with pytest.raises(EspalierError, match=r"000002\.json"):
        book.current()
    assert book.roll_back(1) == 3
    assert book.current().rules[0].name == "a"
