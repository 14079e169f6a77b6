"""Customers who digress, correct, cancel, choose, or want two things at once."""

from __future__ import annotations

import pytest
from talk import Talk

from finance.customer_service.understood import Understood


def test_a_digression_and_the_way_back() -> None:
    talk = Talk()
    talk.say("I want to block my card")
    talk.identify()
    reply = talk.say("what are your opening hours?")
    assert reply.texts == [
        "One moment for your question first.",
        "We are open from 9 to 17. [hours#1]",
        "Back to blocking a card.",
        "Which card is it? The last four digits are enough.",
    ]
    assert reply.awaits == "block_card.card"


def test_a_digression_that_asks_something_itself_may_be_cancelled() -> None:
    talk = Talk()
    talk.say("I want to block my card")
    talk.identify()
    assert talk.say("and the exchange rate?").awaits == "exchange_rate.currency"
    talk.say("never mind")
    assert talk.reply.texts[0] == "All right, I have stopped an exchange rate."
    assert talk.reply.awaits == "block_card.card"


def test_a_digression_at_the_confirmation_comes_back_to_it() -> None:
    talk = Talk()
    talk.say("I want to block my card ending 1234")
    talk.identify()
    talk.say("what is the exchange rate for GBP?")
    assert talk.reply.awaits == "yes"
    assert "0.8571" in talk.text
    talk.say("yes")
    assert talk.bank.cards["1234"][1] == "blocked"


def test_digressions_do_not_pile_up() -> None:
    talk = Talk()
    for wish in ("block my card", "dispute something", "my limit please", "the exchange rate?"):
        talk.say(wish)
    assert talk.reply.texts[0] == "Let us finish checking who you are first."
    assert len([frame for frame in talk.state.frames if frame.task != "identity"]) == 3


def test_corrections_before_the_yes() -> None:
    talk = Talk()
    talk.say("change the limit of my card ending 1234 to 500 euros")
    talk.identify()
    assert "limit of the card •• 1234 to 500.00 EUR" in talk.text
    talk.say("no, not 500 euros but 800 euros")
    assert talk.reply.texts[0] == "I have changed the daily limit to 800.00 EUR."
    talk.say("and it is the card ending 5678")
    assert "limit of the card •• 5678 to 800.00 EUR" in talk.text
    talk.say("yes")
    assert talk.bank.limits["5678"] == 800
    assert talk.bank.limits["1234"] == 500


def test_a_corrected_figure_keeps_its_currency_and_another_currency_is_told() -> None:
    talk = Talk()
    talk.say("把尾号1234的卡限额改为3000元")
    talk.identify()
    assert "每日限额调整为3,000.00 CNY吗" in talk.text
    talk.say("no, make it 3500")
    assert "the daily limit of the card •• 1234 to 3,500.00 CNY?" in talk.text
    talk.say("是的")
    assert talk.reply.texts == ["这张卡的限额不以该货币计算。", "新的每日限额是多少？"]
    talk.say("€350", "是的")
    assert talk.bank.limits["1234"] == 350


def test_a_correction_while_something_else_is_asked() -> None:
    talk = Talk()
    talk.say("change the limit of my card ending 1234")
    talk.identify()
    assert talk.reply.awaits == "change_limit.amount"
    talk.say("sorry, the card ending 5678")
    assert talk.reply.texts == ["I have changed the card to •• 5678.", "What should the new daily limit be?"]


def test_what_was_used_cannot_be_corrected() -> None:
    talk = Talk()
    talk.say("block my card ending 1234")
    talk.identify()
    talk.say("yes")
    assert talk.reply.awaits == "yes"
    talk.say("the one ending 5678")
    assert "has been used already" in talk.text
    talk.say("yes")
    assert talk.bank.log[-1] == ("order_card", "c1", {"card": "1234"})


@pytest.mark.parametrize("word", ["cancel", "never mind", "算了"])
def test_cancelling_changes_nothing(word: str) -> None:
    talk = Talk()
    talk.say("block my card ending 1234")
    talk.identify()
    reply = talk.say(word)
    assert reply.awaits == ""
    assert talk.state.frames == []
    assert talk.bank.cards["1234"][1] == "active"


def test_cancelling_the_check_of_identity_cancels_what_it_was_for() -> None:
    talk = Talk()
    talk.say("block my card", "62220001", "cancel")
    assert talk.reply.texts == ["All right, I have stopped blocking a card.", "Is there anything else?"]
    assert talk.state.frames == []


def test_two_wishes_in_one_message() -> None:
    talk = Talk()
    talk.say("block my card ending 1234 and tell me my balance please")
    talk.identify()
    talk.say("yes", "no")
    assert "Now to your balance." in talk.text
    assert "Your balance is 1,234.50 EUR." in talk.text


def test_a_choice_when_two_intents_are_close() -> None:
    talk = Talk()
    reply = talk.say("unclear")
    assert reply.awaits == "choice"
    assert reply.options == ["blocking a card", "the limit of a card"]
    assert talk.text == "Do you mean: 1) blocking a card; 2) the limit of a card? A number is enough."
    talk.say("2")
    talk.identify()
    assert talk.reply.awaits == "change_limit.card"


@pytest.mark.parametrize("said", ["the limit of a card", "change my limit"])
def test_a_choice_may_be_said_in_words(said: str) -> None:
    talk = Talk()
    talk.say("unclear", said)
    talk.identify()
    assert talk.reply.awaits == "change_limit.card"


def test_the_second_of_two_wishes_is_announced_and_waits() -> None:
    talk = Talk()
    talk.say("block my card ending 1234 and tell me my balance")
    assert talk.reply.texts[0] == "One after the other: first blocking a card, then your balance."
    talk.identify()
    talk.say("yes")
    assert talk.state.queue == ["balance"]
    talk.say("no")
    assert "Your balance is 1,234.50 EUR." in talk.text
    assert talk.state.queue == talk.state.frames == []


def test_two_wishes_in_chinese_and_in_mid_task() -> None:
    talk = Talk()
    talk.say("我的限额")
    talk.identify()
    talk.say("我要挂失，还有想查余额")
    assert talk.reply.texts[0] == "我会依次办理：先是挂失银行卡，然后是查询余额。"
    talk.say("算了", "1234", "300", "是的")
    assert "1,234.50" in talk.text


def test_two_questions_are_both_looked_up_and_a_task_follows() -> None:
    talk = Talk()
    talk.say("your opening hours, a new card, and my balance")
    assert talk.lookups == [["opening_hours"], ["card_order"]]
    assert talk.reply.awaits == "identity.account"
    assert talk.state.queue == []


def test_a_question_chosen_by_its_number_is_looked_up_as_what_it_is() -> None:
    talk = Talk()
    talk.say("unclear")
    talk.state.offered = ["opening_hours", "fees"]
    talk.say("2")
    assert talk.lookups == [["fees"]]


def test_a_person_wanted_beside_something_else_is_told_of_it() -> None:
    talk = Talk()
    talk.say("block my card and my balance", "a person please")
    talk.say("person")
    assert "+ your balance" in talk.bank.log[-1][2]["summary"]


def test_what_is_asked_for_beside_a_person_is_in_the_summary() -> None:
    talk = Talk()
    talk.dialogue.understand = lambda text: Understood("en", (("card_block", 0.9), ("handoff", 0.9)), "answer")
    assert talk.say("block my card and get me somebody").ended == "handoff"
    assert "+ blocking a card" in talk.bank.log[-1][2]["summary"]


@pytest.mark.parametrize("word", ["thanks", "hello", "谢谢"])
def test_a_courtesy_in_mid_task_is_no_failed_attempt(word: str) -> None:
    talk = Talk()
    talk.say("block my card", *[word] * 5)
    assert talk.reply.awaits == "identity.account"


@pytest.mark.parametrize("goodbye", ["bye", "thanks, bye", "谢谢，再见", "再见谢谢"])
def test_a_goodbye_in_mid_task_ends_the_dialogue(goodbye: str) -> None:
    talk = Talk()
    assert talk.say("block my card and tell me my balance", goodbye).ended == "done"
    assert talk.state.frames == talk.state.queue == []


def test_capital_letters_in_a_sentence_are_no_currency() -> None:
    talk = Talk()
    assert talk.say("the exchange rate", "my PIN is wrong").awaits == "exchange_rate.currency"
    talk.say("XYZ")
    assert "We do not trade in XYZ." in talk.text


@pytest.mark.parametrize("why", ["empty", "long", "language"])
def test_what_is_not_read_is_answered_with_why_and_is_no_refusal(why: str) -> None:
    talk = Talk()
    talk.dialogue.understand = lambda text: Understood("en", (), "refuse", unread=why)
    talk.say("?", "?", "?")
    assert talk.text == talk.dialogue.tasks.phrases.say[why].en
    assert talk.reply.awaits == ""
