"""Masking: nothing personal passes, whatever stands between the digits."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from common.text.identifiers import fold, is_card, is_iban, luhn
from finance.customer_service.masking import mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("my card is 4111 1111 1111 1111 exp 12/27", "my card is [CARD] exp 12/27"),
        ("cvv 123", "cvv [SECRET]"),
        ("My name is John Smith and I lost it", "My name is [NAME] and I lost it"),
        ("my name is john smith, hi", "my name is [NAME], hi"),
        ("I'm Mary Watson.", "I'm [NAME]."),
        ("send 500 to Mary Jane Watson please", "send 500 to [NAME] please"),
        ("我叫张三，想查余额", "我叫[NAME]，想查余额"),
        ("给王小明转500元", "给[NAME]转500元"),
        ("我姓王，叫王小明，联系人张伟电话13912345678", "我姓[NAME]，叫[NAME]，联系人[NAME]电话[PHONE]"),
        ("转给我妹妹李小红", "转给我妹妹[NAME]"),
        ("John Smith here", "[NAME] here"),
        ("王先生你好", "[NAME]先生你好"),
        ("收款人：李四 账号：6222021234567890", "收款人：[NAME] 账号：[ACCOUNT]"),
        ("身份证11010519491231002X，手机13812345678", "身份证[ID]，手机[PHONE]"),
        ("call +44 20 7946 0958 or (212) 555-0199", "call [PHONE] or [PHONE]"),
        ("john (at) example (dot) com", "[EMAIL]"),
        ("write to john at example dot com", "write to [EMAIL]"),
        ("4,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", "[CARD]"),
        ("4111\n1111\n1111\n1111", "[CARD]"),
        ("肆壹壹壹壹壹壹壹", "[NUMBER]"),
        ("ｊｏｈｎ＠ｅｘａｍｐｌｅ．ｃｏｍ", "[EMAIL]"),
        ("gb82 west 1234 5698 7654 32!", "[IBAN]!"),
        ("SSN 078-05-1120", "SSN [ID]"),
        ("passport X1234567", "passport [ID]"),
        ("password is hunter2 now", "password is [SECRET] now"),
        ("密码是abc123", "密码是[SECRET]"),
        ("account 12345678 ending in 9876", "account [ACCOUNT] ending in [CARD]"),
        ("尾号1234的卡", "尾号[CARD]的卡"),
        ("born on 3 May 1980", "born on [DATE]"),
        ("my address is 12 High Street, London", "my address is [ADDRESS]"),
        ("四一一一 一一一一 一一一一 一一一一", "[CARD]"),
        ("five five five one two three four", "[NUMBER]"),
    ],
)
def test_what_is_masked(text: str, masked: str) -> None:
    assert mask(text) == masked
    assert mask(masked) == masked


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("this is John Smith", "John Smith"),
        ("This is john smith speaking", "john smith"),
        ("the card of John Smith", "John Smith"),
        ("Mr Smith wants his card", "Smith"),
        ("mrs o'neil", "o'neil"),
        ("it's Maria Lopez again", "Maria Lopez"),
        ("my husband John cannot log in", "John"),
        ("the transfer from Maria has not arrived", "Maria"),
        ("I lost it. - John", "John"),
        ("Kind regards\nAnna", "Anna"),
        ("Cheers, Bob", "Bob"),
        ("name: John", "John"),
        ("我叫李雷我的卡丢了", "李雷"),
        ("本人王小明", "王小明"),
        ("本人是王小明，要挂失", "王小明"),
        ("此致 敬礼 王小明", "王小明"),
        ("王小明 敬上", "王小明"),
        ("客户王小明要求挂失", "王小明"),
        ("我叫 Tom", "Tom"),
        ("My name is 王小明", "王小明"),
    ],
)
def test_names_and_what_stands_around_them(text: str, name: str) -> None:
    assert mask(text) == text.replace(name, "[NAME]")


@pytest.mark.parametrize(
    "text",
    [
        "This is Monday's payment",
        "I am in London",
        "Thanks, I lost my card",
        "Best regards",
        "Dear Bank, my card is lost",
        "send money to Germany",
        "a transfer from France",
        "Why is Apple Pay off? My Visa card is fine",
        "mrs.",
        "我叫了出租车",
        "我是老客户",
        "本人的卡丢了",
        "账户名字的问题",
        "我的用户名是什么",
        "",
        "🙂",
        "What is the exchange rate for 100 USD to CNY?",
        "I paid $1,234,567.89 on 2026-11-29 12:30:45",
        "the 2026/11/29, 2026/11/30 payments",
        "我要转3500000元",
        "transfer 500 to savings",
        "I forgot my password. It is old",
        "你的密码是多少",
        "三千五百元下周五到账",
    ],
)
def test_what_stays(text: str) -> None:
    assert mask(text) == text


BETWEEN = st.sampled_from(["", " ", "-", ".", " - ", "/", "\u200b", "\u00a0", "–", "·", "  ", "*", "(", "\u3000"])
STYLES = st.sampled_from(["0123456789", "０１２３４５６７８９", "零一二三四五六七八九", "٠١٢٣٤٥٦٧٨٩", "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗"])
AROUND = st.sampled_from(["", "my number: ", "我的卡 ", "pay it to ", " 谢谢", " tomorrow", ", ok", "🙂"])


def plain_digits(text: str) -> int:
    chinese = str.maketrans("零一二三四五六七八九", "0123456789")
    return len(re.findall(r"\d", fold(text).translate(chinese)))


@given(
    st.from_regex(r"[2-6]\d{12,17}", fullmatch=True),
    st.lists(BETWEEN, min_size=20, max_size=20),
    STYLES,
    AROUND,
    AROUND,
)
def test_cards_in_any_disguise(body: str, between: list[str], style: str, before: str, after: str) -> None:
    digits = next(body + str(check) for check in range(10) if luhn(body + str(check)))
    assume(is_card(digits))
    disguised = "".join(style[int(digit)] + gap for digit, gap in zip(digits, between, strict=False))
    masked = mask(before + disguised + after)
    assert "[CARD]" in masked
    assert plain_digits(masked) == 0


@given(
    st.sampled_from(["GB", "DE", "FR", "NL", "NO"]), st.from_regex(r"[0-9]{30}", fullmatch=True), BETWEEN, st.booleans()
)
def test_ibans_of_any_country(country: str, body: str, gap: str, small: bool) -> None:
    size = {"GB": 22, "DE": 22, "FR": 27, "NL": 18, "NO": 15}[country]
    bank = ("ABCD" if country in ("GB", "NL") else "") + body
    iban = next(one for n in range(2, 99) if is_iban(one := f"{country}{n:02d}{bank[: size - 4]}"))
    assume(gap in ("", " ", "-", "\u200b", "\u00a0", "–", "\u3000"))
    written = gap.join(re.findall(".{1,4}", iban.lower() if small else iban))
    assert mask(f"to {written}, please") == "to [IBAN], please"


@given(st.from_regex(r"(\+\d{1,3}[ -]?)?\(?\d{3}\)?[ -]?\d{3}[ -]?\d{4}", fullmatch=True))
def test_phones(phone: str) -> None:
    assert plain_digits(mask(f"ring {phone} now")) == 0


@given(st.text(max_size=80))
def test_masking_twice_changes_nothing(text: str) -> None:
    assert mask(mask(text)) == mask(text)


@pytest.mark.parametrize(
    "piece", ["a", "1", "1 ", "a@", "my name is ", "一", "GB82 ", "密码 1", "four ", "转给张", "I'm Jo "]
)
def test_long_texts_are_cut_not_searched_forever(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    assert mask(text + " 4111111111111111").count("4111111111111111") == 0
