from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from common.config import settings
from common.errors import UsageError
from common.text.ngrams import Grams
from finance.customer_service.clinc import RECALL, threshold
from finance.customer_service.config import Config, Refusal
from finance.customer_service.data import Utterances
from finance.customer_service.evaluate import evaluate
from finance.customer_service.fit import Held, fit, strictest
from finance.customer_service.language import clauses, language_of, refers_back
from finance.customer_service.model import Classifier, Kernel, fit_kernel, gaussian, sharpness_of
from finance.customer_service.reader import read, sureness
from finance.customer_service.refusal import Gate, set_threshold
from finance.customer_service.serve import CustomerServicePredictor, Request
from finance.customer_service.train import train


class Plane:
    """Instead of an encoder: two numbers of a text."""

    def __call__(self, texts):
        return np.array([[text.count("a"), text.count("b")] for text in texts], np.float32) / 5

    def arrays(self):
        return {}


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("I lost my card", "en"),
        ("我的卡丢了", "zh"),
        ("我的card丢了", "zh"),
        ("please 帮我 block the card", "en"),
        ("Где моя карта", None),
        ("Bonjour, j'ai perdu ma carte", None),
        ("ich habe meine Karte verloren", None),
        ("me robaron la tarjeta", None),
        ("I paid at La Carte in Paris", "en"),
        ("カードをなくしました", None),
        ("카드를 잃어버렸어요", None),
        ("🙂🙂", None),
        ("12345", None),
        ("", None),
    ],
)
def test_the_language_is_that_of_most_words(text, language):
    assert language_of(text) == language


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("block my card and tell me my balance", ["block my card", "tell me my balance"]),
        (
            "I lost my card yesterday and want to know my balance",
            ["I lost my card yesterday", "want to know my balance"],
        ),
        ("我的card丢了，please block it now", ["我的card丢了", "please block it now"]),
        ("能在ATM改密码吗", ["能在ATM改密码吗"]),
        ("我的卡丢了please tell me the balance", ["我的卡丢了", "please tell me the balance"]),
        ("One. two, three! four? five, six", ["One. two", "three! four", "five, six"]),
        ("block my card, and what is my balance?", ["block my card", "what is my balance"]),
        ("transfer 1,250.00 EUR to Anna", ["transfer 1,250.00 EUR to Anna"]),
        ("我要转账，另外我的卡还没到", ["我要转账", "我的卡还没到"]),
        ("hello", ["hello"]),
        ("!!!", []),
    ],
)
def test_clauses(text, parts):
    assert [text[start:end].strip() for start, end in clauses(text)] == parts


@pytest.mark.parametrize(
    ("text", "back"),
    [
        ("can you block it", True),
        ("block my card and cancel it", False),
        ("Why is this?", True),
        ("能取消它吗", True),
        ("my balance", False),
    ],
)
def test_a_clause_may_speak_of_what_another_names(text, back):
    assert refers_back(text) is back


@given(st.text(max_size=300))
def test_any_text_has_at_most_three_clauses_and_a_language_or_none(text):
    assert len(clauses(text)) <= 3
    assert language_of(text) in ("en", "zh", None)


def test_a_gate_refuses_the_promised_share_of_kinds_it_has_not_seen():
    rng = np.random.default_rng(0)

    def kinds(count):  # utterances of one kind are alike
        kind = np.repeat(np.arange(count), 20)
        return rng.normal(size=count)[kind] + 0.2 * rng.normal(size=len(kind)), kind

    shares = []
    for _ in range(200):
        scores, kind = kinds(30)
        gate = Gate.fit(np.linspace(0, 3, 50), scores, kind, 0.85)
        assert gate.promised == 0.85
        shares.append(gate.refuses(kinds(30)[0]).mean())
    assert np.mean(shares) == pytest.approx(0.85 + 0.02, abs=0.03)


def test_a_gate_promises_no_more_than_its_kinds_allow():
    gate = Gate.fit(np.array([0.5, 0.9]), np.array([0.1, 0.2, 0.3]), np.array(["x", "y", "y"]), 0.95)
    assert gate.promised == pytest.approx(2 / 3)
    assert gate.kinds == 2


def test_p_values_rank_a_request_among_those_in_scope():
    gate = Gate.fit(np.arange(99) / 100, np.array([0.1, 0.2]), np.array(["x", "y"]), 0.5)
    assert gate.p_value(-1) == pytest.approx(0.01)
    assert gate.p_value(2) == 1
    assert gate.p_value(0.495) == pytest.approx(0.51)
    assert Gate.of(gate.state()).p_value(0.3) == gate.p_value(0.3)


def test_the_set_holds_the_intent_meant_as_often_as_asked():
    rng = np.random.default_rng(1)
    held = [(rng.uniform(size=50) >= set_threshold(rng.uniform(size=99), 0.9)).mean() for _ in range(300)]
    assert np.mean(held) == pytest.approx(0.9, abs=0.02)


def test_sharpness_makes_probabilities_of_scores():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(4_000, 3))
    chances = np.exp(3 * logits) / np.exp(3 * logits).sum(axis=1, keepdims=True)
    label = (chances.cumsum(axis=1) > rng.uniform(size=(4_000, 1))).argmax(axis=1)
    assert sharpness_of([logits[:2_000], logits[2_000:]], [label[:2_000], label[2_000:]]) == pytest.approx(3, rel=0.1)


def test_sureness_counts_who_hesitates_between_few_as_sure():
    several = np.array([[0.48, 0.48] + [0.04 / 18] * 18, [0.05] * 20])
    assert sureness(several)[0] > 0.95
    assert sureness(several)[1] == pytest.approx(0.15)
    assert sureness(np.array([[0.6, 0.4]])) == [0.6]  # of two intents one is always likely: only the best counts


def test_the_kernel_model_solves_its_equations_and_is_kept_as_it_is():
    texts = ["aab", "aba", "bb a", "bab b", "aaaa", "bbbb"]
    labels = np.array(["x", "x", "y", "y", "x", "y"], dtype=object)
    settings, grams = Kernel(gamma=2, ngrams=0.5, ridge=0.1), Grams(least=1)
    model = Classifier.kernel(texts, labels, grams, settings, Plane())
    counted = model.ngrams(texts)
    rows = Plane()(texts)
    kernel = gaussian(rows, rows, 2) + 0.5 * (counted @ counted.T).toarray()
    target = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [1, 0], [0, 1]]) - 0.5
    solved = np.linalg.solve(kernel + 0.1 * np.eye(6), target)
    assert model.scores(texts) == pytest.approx(kernel @ solved + 0.5, abs=1e-4)
    assert (np.array(model.intents)[model.chances(model.scores(texts)).argmax(axis=1)] == labels).all()


def test_rows_are_left_out_exactly_as_if_they_had_never_been_learnt_from():
    texts = ["aab", "aba", "bb a", "bab b", "aaaa", "bbbb", "ba", "abab"]
    labels = np.array(["", "x", "y", "y", "x", "y", "", ""], dtype=object)
    settings, grams = Kernel(gamma=2, ngrams=0, ridge=0.1), Grams(least=1)
    groups = [np.array([6, 0]), np.array([7])]
    found = fit_kernel(texts, labels, grams, settings, Plane())[1].without(groups)
    for group, scores in zip(groups, np.split(found, [2]), strict=True):
        kept = np.delete(np.arange(8), group)
        rest, _ = fit_kernel([texts[row] for row in kept], labels[kept], grams, settings, Plane())
        assert scores == pytest.approx(rest.scores([texts[row] for row in group]), abs=1e-4)


def test_the_threshold_of_clinc150_keeps_its_recall_as_surely_as_it_says():
    rng = np.random.default_rng(5)
    recalls = [threshold(rng.normal(size=200)) for _ in range(600)]
    assert np.mean(norm.cdf(recalls) >= RECALL) == pytest.approx(0.95, abs=0.03)
    assert threshold(np.array([3.0, 1.0, 2.0])) == 3.0  # too few to be sure: the greatest


def test_a_linear_model_of_two_or_three_classes_survives_its_state():
    texts = ["open account", "open an account now", "card lost", "lost my card", "weather today", "rain today"]
    for labels in (["a", "a", "b", "b", "b", "b"], ["a", "a", "b", "b", "", ""]):
        model = Classifier.linear(texts, np.array(labels, dtype=object), Grams(least=1), 1.0, 0)
        again = Classifier.of(model.state(), model.arrays(), {})
        assert again.scores(texts) == pytest.approx(model.scores(texts))
        best = model.chances(model.scores(texts[:4])).argmax(axis=1)
        assert [model.intents[i] for i in best] == labels[:4]
        assert again.intents == ("a", "b")


def test_two_requests_are_read_beside_a_greeting():
    texts = ["hello", "hello hello", "lost card", "my card is lost", "balance please", "show balance"] * 2
    labels = np.array(["greeting", "greeting", "card", "card", "balance", "balance"] * 2, dtype=object)
    model = Classifier.linear(texts, labels, Grams(), 10.0, 0)
    alone, both = read(model, ["hello", "hello, my card is lost. show balance"])
    assert alone.parts == ()
    assert [part.intent for part in both.several[-1]] == ["card", "balance"]
    assert read(model, []) == []


def test_what_is_promised_is_of_kinds_left_out_in_turn():
    rng = np.random.default_rng(3)
    words = [f"{letter}{number}" for letter in "qwzx" for number in range(8)]
    text, intent = [], []
    for place, name in enumerate("abcdefgh"):
        own = words[place * 4 : place * 4 + 4]
        for _ in range(25):
            text.append(" ".join(rng.choice(own, 3)) + " " + " ".join(rng.choice(words, 2)))
            intent.append(name)
    count = len(text)
    data = Utterances(
        np.array(text, dtype=object),
        np.array(intent, dtype=object),
        np.full(count, "en", dtype=object),
        np.full(count, "", dtype=object),
        np.arange(count),
    )
    fitted = fit(Config(refusal=Refusal(recall=0.8, folds=4)), data, ("en",))
    assert fitted.gates["en"].kinds == 8
    assert fitted.metrics["valid_recall_intent_en"] >= 0.8
    assert fitted.metrics["valid_accuracy"] > 0.8
    unseen = ["totally other words here", "nothing of this kind"]
    assert fitted.gates["en"].refuses(np.array([one.score for one in read(fitted.classifier, unseen)])).all()


def own(tmp_path, intents, rows, extra=()):
    """A file in which every intent has a word of its own."""
    words = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf"][:intents]
    lines = [f"please do the {word} thing number {row},{word}" for word in words for row in range(rows)]
    file = tmp_path / "own.csv"
    file.write_text("text,intent\n" + "\n".join([*lines, *extra]), encoding="utf-8")
    return str(file)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.mark.parametrize("intents", [4, 7])
def test_a_few_intents_without_any_example_out_of_scope_are_enough(tmp_path, home, intents):
    bundle = train(Config(dataset=own(tmp_path, intents, 12)))
    answer = CustomerServicePredictor.load(bundle).predict([Request(text="do the delta thing, please")])[0]
    assert answer.intents[0].name == "delta"
    assert answer.promised_recall == pytest.approx(min(0.85, intents / (intents + 1)))
    report, _ = evaluate(bundle)
    assert report.metrics["accuracy"].value == 1
    assert "oos_recall" not in report.metrics


@pytest.mark.parametrize(
    ("intents", "rows", "extra", "told"),
    [
        (1, 30, (), "too few intents"),
        (3, 30, (), "too few intents to leave any out: got 3, expected at least 4"),
        (5, 3, (), "language en: too few utterances"),
        (5, 30, ("我的卡丢了,alpha", "你好,bravo"), "language zh: too few utterances"),
    ],
)
def test_too_little_to_learn_from_is_refused_in_a_sentence(tmp_path, home, intents, rows, extra, told):
    with pytest.raises(UsageError, match=told):
        train(Config(dataset=own(tmp_path, intents, rows, extra)))


def test_a_handful_of_rows_out_of_scope_cannot_refuse_everybody():
    rng = np.random.default_rng(4)
    kind = np.array(["", *[f"intent.{number % 20}" for number in range(200)], "far#0", "far#1"], dtype=object)
    score = np.array([0.9, *rng.uniform(0, 0.5, 200), 0.99, 0.98])
    rest = np.full(len(kind), True)
    held = Held(score, np.full(len(kind), "en", dtype=object), kind, rest, score)
    gate = strictest(held, rest, 0.85)
    assert gate.promised == 0.85
    assert gate.threshold < 0.6
    far = np.array([f"far#{number}" for number in range(60)], dtype=object)
    many = Held(
        np.concatenate([score, np.linspace(0.6, 0.8, 60)]),
        np.full(len(kind) + 60, "en", dtype=object),
        np.concatenate([kind, far]),
        np.full(len(kind) + 60, True),
        np.concatenate([score, np.zeros(60)]),
    )
    assert strictest(many, np.full(len(kind) + 60, True), 0.85).threshold > 0.7
