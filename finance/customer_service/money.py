"""Amounts and currencies, in figures and in words, English and Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from finance.customer_service.numbers import FIGURES, HAN, LARGE, WORDS, chinese, english
from finance.customer_service.understood import Entity

SYMBOLS = {"US$": "USD", "HK$": "HKD", "A$": "AUD", "C$": "CAD", "S$": "SGD", "$": "USD", "€": "EUR", "£": "GBP"}
SYMBOLS |= {"₹": "INR", "₩": "KRW", "₽": "RUB", "¥": "CNY", "￥": "CNY"}
CODES = (
    "USD EUR GBP CNY RMB CNH HKD JPY AUD CAD SGD CHF NZD KRW INR THB MYR SEK NOK DKK PLN CZK HUF BRL MXN ZAR TWD AED"
)
SAID = "usd|eur|gbp|cny|rmb|hkd|jpy"
SAME = {"RMB": "CNY", "CNH": "CNY"}
DOLLARS = {"us": "USD", "american": "USD", "hong kong": "HKD", "hk": "HKD", "australian": "AUD", "canadian": "CAD"}
DOLLARS |= {"singapore": "SGD", "new zealand": "NZD", "taiwan": "TWD"}
NAMES = {"dollar": "USD", "buck": "USD", "euro": "EUR", "pound": "GBP", "quid": "GBP", "yuan": "CNY", "renminbi": "CNY"}
NAMES |= {"yen": "JPY", "swiss franc": "CHF", "franc": "CHF", "rupee": "INR", "baht": "THB", "ringgit": "MYR"}
_CHINESE = (
    "CNY:人民币 USD:美元|美金|美刀 EUR:欧元 GBP:英镑 HKD:港元|港币 JPY:日元|日圆 "
    "AUD:澳元|澳币 CAD:加元|加币 SGD:新元|新币 CHF:瑞士法郎 KRW:韩元|韩币 THB:泰铢 TWD:新台币|台币"
)
CHINESE = {name: code for of in _CHINESE.split() for code, _, names in [of.partition(":")] for name in names.split("|")}
COUNTED = {"元": "CNY", "块": "CNY", "圆": "CNY", "镑": "GBP", "欧": "EUR", "刀": "USD", "won": "KRW"}

NUMBER = re.compile(
    rf"(?P<zh>[{HAN}]{{1,12}}点[{HAN}]{{1,6}}(?=[元块圆镑欧美英港日]|(?<=[万亿]))|(?:{FIGURES}|[{HAN}])[{HAN}]{{0,24}})"
    rf"(?P<parts>(?:[元块圆]零?[\d{HAN}](?![\d{HAN}])[角毛]?|[角毛])(?:[\d{HAN}](?![\d{HAN}])分?)?)?|(?P<en>{WORDS})",
    re.IGNORECASE | re.ASCII,
)
SCALE = re.compile(
    r"(?P<scale>(?:k|m|w|mn|bn)\b| ?grand\b|(?<=\d) ?(?:thousand|million|billion)\b)", re.IGNORECASE | re.ASCII
)
CURRENCY = re.compile(
    rf"(?P<symbol>US\$|HK\$|[ACS]\$|[$€£₹₩₽¥￥])|(?P<zh>{'|'.join(sorted(CHINESE, key=len, reverse=True))})"
    rf"|(?<![A-Za-z])(?:(?i:(?P<of>{'|'.join(DOLLARS)})[ -](?=dollar))?"
    rf"(?P<name>(?i:{'|'.join(NAMES)}))(?i:s?(?: sterling)?)"
    rf"|(?P<code>{CODES.replace(' ', '|')}|{SAID}))(?![A-Za-z])",
    re.ASCII,
)
UNIT = re.compile(
    r" ?(?P<all>(?P<unit>[元块圆镑]|欧(?![洲盟元]))(?:钱|整)?|(?P<slang>刀(?!具)|won\b))", re.IGNORECASE | re.ASCII
)
WANTS = re.compile(
    r"(?:\b(?:transfer|send|pay|withdraw|deposit|move|wire|exchange|convert|spen[dt]|paid|sent|charged|top up"
    r"|limit|amount|to|of|about|exactly|over|up to|make it|for|me|it's|is)"
    r"|(?:金额|限额|额度|转账?|汇款?|付款?|支付|取款?|存|提现|充值?|还款?|扣|花"
    r"|借|提高?到|调到|改[成为]|换)[了是为]?)[ :]{0,2}$",
    re.IGNORECASE | re.ASCII,
)
CENTS = re.compile(r"\d[.,]\d\d$")
FREE = re.compile(
    r"[ ]?(?:$|[.,;!?。，；！？、)](?!\d)|"
    r"(?:to|from|into|out|in|on|for|please|today|tomorrow|now|instead|and|by|with|via|at|per|each|every|a)\b|[给到进出吧呢了的去就]|行吗|可以)",
    re.IGNORECASE | re.ASCII,
)


def find_money(text: str, folded: str) -> Iterator[Entity]:
    """Amounts and currencies of a text; `folded` is `fold(text)`.

    A number is an amount beside a currency, or after a word that wants one ("transfer 500", 转三千), or when it is all
    that was said. `value` is in units of the currency, with two decimals when it has any.
    """
    starts = {found.start(): found for found in CURRENCY.finditer(folded)}
    ends = {found.end() for found in starts.values()}
    for found in starts.values():
        yield Entity("currency", found.start(), found.end(), text[found.start() : found.end()], _code(found))
    for found in NUMBER.finditer(folded):
        start, end = found.span()
        value = english(found["en"]) if found["en"] else chinese(found["zh"])
        if value is None:
            continue
        if found["parts"]:
            value += _parts(found["parts"], found["zh"])
        elif scale := SCALE.match(folded, end):
            value, end = value * LARGE[scale["scale"].strip().lower()], scale.end()
        before = start in ends or (start - 1 in ends and folded[start - 1] == " ")
        after = end in starts or (end + 1 in starts and folded[end] == " ")
        unit = UNIT.match(folded, end)
        if before or after or unit or found["parts"] or _wanted(found, folded, end):
            yield Entity("amount", start, end, text[start:end], plain(value))
            if unit and not before and not after:
                code = COUNTED[(unit["unit"] or unit["slang"]).lower()]
                yield Entity("currency", unit.start("all"), unit.end(), text[unit.start("all") : unit.end()], code)


def plain(value: Decimal) -> str:
    """An amount as its `Entity` has it: `3500`, `1234.50`."""
    return str(int(value)) if value == value.to_integral_value() else f"{value:.2f}"


def _code(found: re.Match[str]) -> str:
    if symbol := found["symbol"]:
        return SYMBOLS[symbol]
    if found["zh"]:
        return CHINESE[found["zh"]]
    if found["code"]:
        return SAME.get(found["code"].upper(), found["code"].upper())
    return DOLLARS[found["of"].lower()] if found["of"] else NAMES[found["name"].lower()]


def _wanted(found: re.Match[str], folded: str, end: int) -> bool:
    """Whether a number without a currency is an amount by what stands around it."""
    if not (folded[: found.start()] + folded[end:]).strip(" .,!?。，！？\n\t"):
        return True
    small = (
        found["en"] and end == found.end() and not re.search("hundred|thousand|million|ty", found["en"], re.IGNORECASE)
    )
    if small or not FREE.match(folded, end):
        return False
    return bool(CENTS.search(found.group()) or WANTS.search(folded[max(0, found.start() - 16) : found.start()]))


def _parts(text: str, number: str) -> Decimal:
    """What jiao and fen add: 三块五 is 3.5, 三块五毛二分 is 3.52; of 五毛 alone the number itself is the jiao."""
    value = Decimal(0)
    if text[0] in "角毛":
        whole = chinese(number) or Decimal(0)
        value, text = whole / 10 - whole, text[1:]
    for place, (digit, unit) in enumerate(re.findall(rf"([\d{HAN}])([角毛分]?)", text.lstrip("元块圆零"))):
        value += (chinese(digit) or Decimal(0)) * Decimal("0.01" if unit == "分" or place else "0.1")
    return value
