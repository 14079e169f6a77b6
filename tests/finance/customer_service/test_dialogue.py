"""What a customer gets done in a dialogue: identity, a yes, values within their bounds."""

from __future__ import annotations

import pytest
from talk import Talk


def test_a_card_is_blocked_after_identity_and_a_yes() -> None:
    talk = Talk()
    assert talk.say("I want to block my card ending 1234").awaits == "identity.account"
    assert talk.say("62220001").awaits == "identity.birth"
    assert talk.say("1990-04-12").awaits == "identity.code"
    reply = talk.say("246810")
    assert (reply.awaits, reply.options) == ("yes", ["yes", "no"])
    assert "Shall I block the card •• 1234" in talk.text
    assert talk.bank.cards["1234"] == ("c1", "active")
    talk.say("yes")
    assert talk.bank.cards["1234"] == ("c1", "blocked")
    assert "Your reference is B-1234" in talk.text
    assert talk.say("no thanks").awaits == ""
    assert talk.say("bye").ended == "done"
    assert talk.say("hello").texts == ["This conversation has ended. Please begin a new one."]


def test_the_same_in_chinese() -> None:
    talk = Talk()
    talk.say("我要挂失尾号1234的银行卡")
    assert talk.text == "我需要先核实您的身份。请问您的账号是多少？"
    assert talk.say("62220001", "1990-04-12", "246810").language == "zh"
    assert talk.text.startswith("谢谢，身份已核实。\n确认永久挂失尾号1234的银行卡吗？")
    talk.say("确认")
    assert "编号B-1234" in talk.text
    talk.say("不用了")
    assert talk.say("再见").ended == "done"
    assert talk.text == "感谢您的咨询，再见。"


def test_the_language_follows_the_customer_and_digits_change_nothing() -> None:
    talk = Talk()
    talk.say("我要挂失银行卡", "62220001")
    assert talk.reply.language == "zh"
    talk.say("what is the exchange rate for USD?")
    assert talk.reply.language == "en"
    assert "1 EUR is 1.0832 USD today." in talk.text
    assert "Back to checking who you are." in talk.text


def test_whoever_is_known_is_not_asked_again() -> None:
    talk = Talk()
    talk.say("my balance please")
    talk.identify()
    assert "Your balance is 1,234.50 EUR." in talk.text
    assert talk.say("I want to block my card").awaits == "block_card.card"


def test_account_data_needs_the_right_code() -> None:
    talk = Talk()
    talk.say("my balance please", "62220001", "1990-04-12", "000000")
    assert "could not confirm who you are" in talk.text
    talk.say("111111", "222222")
    assert talk.reply.ended == "handoff"
    assert "balance" not in talk.calls()
    assert "1,234.50" not in talk.text


def test_identity_says_nothing_of_whether_an_account_exists() -> None:
    known, unknown = Talk(), Talk()
    known.say("my balance please", "62220001", "1971-01-01")
    unknown.say("my balance please", "99999999", "1971-01-01")
    assert known.reply == unknown.reply


@pytest.mark.parametrize("answer", ["no", "nope", "no, leave my card alone", "不要"])
def test_a_no_is_a_no(answer: str) -> None:
    talk = Talk()
    talk.say("block my card ending 1234")
    talk.identify()
    talk.say(answer)
    assert talk.bank.cards["1234"][1] == "active"
    assert talk.state.frames == []


DOUBTS = [
    "yes, but the other one",
    "yes, if it is free",
    "ok, what happens then",
    "ok... why",
    "是，但是不是这张",
    "好，先等等",
]


@pytest.mark.parametrize(
    "answer",
    ["maybe", "yes but not this one", "why?", "🙂", "", "yesterday", "I said yes to nothing", "是不是", *DOUBTS],
)
def test_nothing_but_a_yes_is_a_yes(answer: str) -> None:
    talk = Talk()
    talk.say("block my card ending 1234")
    talk.identify()
    talk.say(answer)
    assert talk.bank.cards["1234"][1] == "active"
    assert talk.reply.awaits == "yes"


@pytest.mark.parametrize(
    "answer", ["Yes!", "YES", "yes, please", "ok go ahead", "Yes, block it.", "是的。", "好的，确认", "对，就是这张"]
)
def test_ways_to_say_yes(answer: str) -> None:
    talk = Talk()
    talk.say("block my card ending 1234")
    talk.identify()
    talk.say(answer)
    assert talk.bank.cards["1234"][1] == "blocked"


@pytest.mark.parametrize(("day", "awaits"), [("2026-11-29", "dispute.reason"), ("2026-11-30", "dispute.date")])
def test_a_payment_lies_in_the_past(day: str, awaits: str) -> None:
    talk = Talk()
    talk.say("dispute")
    talk.identify()
    assert talk.say("1234", "49.90 EUR", day).awaits == awaits


@pytest.mark.parametrize(
    ("amount", "awaits"), [("10", "yes"), ("9.99", "change_limit.amount"), ("1", "change_limit.amount")]
)
def test_an_amount_within_its_bounds(amount: str, awaits: str) -> None:
    talk = Talk()
    talk.say("limit")
    talk.identify()
    talk.say("1234", amount)
    assert talk.reply.awaits == awaits
    assert (talk.reply.texts[0] == "The amount must lie between 10.00 and 20,000.00.") == (awaits != "yes")


def test_too_high_a_limit_may_be_lowered_and_others_cards_are_not_found() -> None:
    talk = Talk()
    talk.say("limit")
    talk.identify()
    talk.say("4321", "9000", "yes")
    assert talk.reply.texts == ["I find no card •• 4321 of yours.", "For which card? The last four digits are enough."]
    talk.say("1234", "yes")
    assert talk.reply.texts[0] == "9,000.00 is more than this card allows."
    talk.say("5000", "yes")
    assert talk.bank.limits == {"1234": 5000, "5678": 1000, "4321": 500}


@pytest.mark.parametrize(
    ("amount", "said"),
    [("250.00 EUR", "is on its way and should arrive by 30 November 2026"), ("99.90 EUR", "was returned")],
)
def test_a_transfer_and_what_became_of_it(amount: str, said: str) -> None:
    talk = Talk()
    talk.say("where is my transfer")
    talk.identify()
    talk.say(amount, "2026-11-20")
    assert said in talk.text
