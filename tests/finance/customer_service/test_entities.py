"""Entities: amounts, currencies, dates, accounts and cards, in two languages."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.text.identifiers import fold, is_card, is_iban
from finance.customer_service.entities import find
from finance.customer_service.numbers import chinese, english

TODAY = date(2026, 11, 29)  # a Sunday


def values(text: str, kind: str) -> list[str]:
    return [entity.value for entity in find(text, TODAY) if entity.kind == kind]


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("Transfer $1,234.50 to my savings", "1234.50", "USD"),
        ("why was I charged 1.234,56 €?", "1234.56", "EUR"),
        ("send 500 euros to Anna", "500", "EUR"),
        ("limit of two thousand five hundred pounds", "2500", "GBP"),
        ("three hundred and twenty Hong Kong dollars", "320", "HKD"),
        ("change 5k usd please", "5000", "USD"),
        ("$5 million", "5000000", "USD"),
        ("给张三转三千五百元", "3500", "CNY"),
        ("转3.5万美元", "35000", "USD"),
        ("人民币１，２３４．５０元", "1234.50", "CNY"),
        ("被扣了五十块钱", "50", "CNY"),
        ("一万零五十日元", "10050", "JPY"),
        ("壹仟贰佰元整", "1200", "CNY"),
        ("我想把200 USD换掉", "200", "USD"),
        ("Pay 1 000 000 USD", "1000000", "USD"),
        ("二点五万欧元", "25000", "EUR"),
        ("零点五元", "0.50", "CNY"),
        ("换300欧", "300", "EUR"),
        ("不对，800欧元", "800", "EUR"),
    ],
)
def test_amounts_with_their_currency(text: str, amount: str, currency: str) -> None:
    assert values(text, "amount") == [amount]
    assert values(text, "currency") == [currency]


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("transfer 500", "500"),
        ("raise my limit to 2k, please", "2000"),
        ("1500", "1500"),
        ("一千二", "1200"),
        ("三块五", "3.50"),
        ("五毛", "0.50"),
        ("一百零五块三毛二", "105.32"),
        ("send two grand to mum", "2000"),
        ("limit 3,000.00 per day", "3000"),
        ("给我转2w", "20000"),
        ("转账800给李四", "800"),
    ],
)
def test_amounts_without_a_currency(text: str, amount: str) -> None:
    assert values(text, "amount") == [amount]


@pytest.mark.parametrize(
    "text",
    ["I have two cards", "call me in 5 minutes", "I tried 3 times", "third time", "三次", "我有两张卡", "page 404"],
)
def test_other_numbers_are_no_amounts(text: str) -> None:
    assert values(text, "amount") == []


def test_currencies_alone() -> None:
    assert values("exchange euros to dollars", "currency") == ["EUR", "USD"]
    assert values("欧元兑人民币汇率", "currency") == ["EUR", "CNY"]
    assert values("I will try all of it", "currency") == []


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("lost it yesterday", "2026-11-28"),
        ("next Friday", "2026-12-04"),
        ("last friday", "2026-11-27"),
        ("on Monday", "2026-11-30"),
        ("3 days ago", "2026-11-26"),
        ("in two weeks", "2026-12-13"),
        ("a month ago", "2026-10-29"),
        ("the day after tomorrow", "2026-12-01"),
        ("5 December", "2026-12-05"),
        ("Jan 3rd", "2027-01-03"),
        ("November 29, 2025", "2025-11-29"),
        ("the 1st of October", "2026-10-01"),
        ("2026/02/28", "2026-02-28"),
        ("3/11/2026", "2026-11-03"),
        ("11/29/2026", "2026-11-29"),
        ("last month", "2026-10-01"),
        ("at the end of this month", "2026-11-30"),
        ("下周五", "2026-12-04"),
        ("上周五", "2026-11-20"),
        ("这周三", "2026-11-25"),
        ("昨天", "2026-11-28"),
        ("大后天", "2026-12-02"),
        ("三天前", "2026-11-26"),
        ("两周后", "2026-12-13"),
        ("二〇二六年十二月一日", "2026-12-01"),
        ("11月5号", "2026-11-05"),
        ("上个月15号", "2026-10-15"),
        ("明年三月一日", "2027-03-01"),
        ("月底", "2026-11-30"),
        ("2025年底", "2025-12-31"),
        ("年末", "2026-12-31"),
        ("3月份的账单", "2026-03-01"),
        ("the statement for October", "2026-10-01"),
        ("on 01/12", "2026-12-01"),
        ("this weekend", "2026-11-28"),
        ("下周末", "2026-12-05"),
        ("in 10 business days", "2026-12-11"),
        ("三个工作日前", "2026-11-25"),
    ],
)
def test_dates(text: str, day: str) -> None:
    assert values(text, "date") == [day]


@pytest.mark.parametrize(
    "text",
    ["30 Feb 2026", "2026-13-45", "May I ask", "the sun sat", "5号线", "expires 12/27", "十五点五分", "in 99999 years"],
)
def test_what_is_no_date(text: str) -> None:
    assert values(text, "date") == []


def test_dates_follow_today() -> None:
    assert [entity.value for entity in find("next Friday, 下周五", date(2026, 11, 25))] == ["2026-12-04", "2026-12-04"]
    assert [entity.value for entity in find("29 February", date(2026, 3, 1))] == ["2028-02-29"]
    assert find("in 3 days", date.max) == []
    assert find("三天前", date.min) == []


@pytest.mark.parametrize(
    ("text", "account"),
    [
        ("pay GB82 WEST 1234 5698 7654 32 is mine", "GB82WEST12345698765432"),
        ("to de89370400440532013000.", "DE89370400440532013000"),
        ("account number is 1234 5678", "12345678"),
        ("账号：6222 0212 3456 7890 123", "6222021234567890123"),
        ("the account ending in 9876", "9876"),
    ],
)
def test_accounts(text: str, account: str) -> None:
    assert values(text, "account") == [account]
    assert values(text, "card") == []


@pytest.mark.parametrize(
    ("text", "card"),
    [
        ("card 4111 1111 1111 1111 12/27", "4111111111111111"),
        ("卡号４１１１－１１１１－１１１１－１１１１", "4111111111111111"),
        ("尾号1234", "1234"),
        ("my card ending 4242", "4242"),
        ("the last four digits are 0005", "0005"),
        ("**** 4242", "4242"),
    ],
)
def test_cards(text: str, card: str) -> None:
    assert values(text, "card") == [card]


def test_wrong_check_digits_are_refused() -> None:
    assert values("card 4111 1111 1111 1112", "card") == []
    assert values("GB82 WEST 1234 5698 7654 33", "account") == []
    assert is_card("4111111111111111")
    assert not is_card("0000000000000000")
    assert not is_iban("GB82WEST1234569876543")


def test_mixed_languages_at_once() -> None:
    found = find("请transfer 五百美元 from 尾号1234 下周五, thanks", TODAY)
    assert [(entity.kind, entity.value) for entity in found] == [
        ("amount", "500"),
        ("currency", "USD"),
        ("card", "1234"),
        ("date", "2026-12-04"),
    ]


PIECES = st.sampled_from(
    ["$5", "三千元", "2026-11-29", "尾号1234", " ", "明天", "GB82", "k", "万", "１", "🙂", "\u200b", "İ"]
)


@given(st.lists(PIECES | st.text(max_size=5), max_size=20).map("".join))
def test_spans_are_of_the_text_and_apart(text: str) -> None:
    found = find(text, TODAY)
    assert all(text[entity.start : entity.end] == entity.text for entity in found)
    assert all(one.end <= other.start for one, other in pairwise(found))
    assert len(fold(text)) == len(text)


DIGITS = "零一二三四五六七八九"


def in_chinese(value: int) -> str:
    """A number below 10,000 as it is said."""
    said, gap = "", False
    for step, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = value // step % 10
        if digit:
            said += ("零" if gap and said else "") + DIGITS[digit] + name
            gap = False
        else:
            gap = True
    return said or "零"


@given(st.integers(0, 9999), st.integers(1, 9999))
def test_chinese_numbers_are_read_back(small: int, large: int) -> None:
    assert chinese(in_chinese(small)) == small
    between = "零" if 0 < small < 1000 else ""
    said = in_chinese(large) + "万" + (between + in_chinese(small) if small else "")
    assert chinese(said) == large * 10_000 + small


@pytest.mark.parametrize(
    ("words", "value"),
    [("forty two", 42), ("a hundred and one", 101), ("nine hundred thousand", 900_000), ("five six", None)],
)
def test_english_numbers(words: str, value: int | None) -> None:
    assert english(words) == (None if value is None else Decimal(value))
