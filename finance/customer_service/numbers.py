"""Numbers as people write and say them: 1,234.50 · two hundred and fifty thousand · 三千五 · 3.5万."""

from __future__ import annotations

import re
from decimal import Decimal
from math import prod

SMALL = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
UNITS = {word: value for value, word in enumerate(f"{SMALL} seventeen eighteen nineteen".split())}
UNITS |= {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
UNITS |= {"a": 1, "an": 1}
LARGE = {"thousand": 1000, "million": 10**6, "billion": 10**9, "k": 1000, "w": 10**4, "m": 10**6, "grand": 1000}
LARGE |= {"mn": 10**6, "bn": 10**9}

_WORD = "|".join(sorted({*UNITS, "hundred", "thousand", "million", "billion"} - {"a", "an"}, key=len, reverse=True))
WORDS = rf"\b(?:(?:an?|{_WORD})(?:[ -](?:and )?(?:{_WORD})){{1,12}}|{_WORD})\b"
"""A number in English words."""
FIGURES = (
    r"(?:(?<![\d.])(?<!\d,)(?:\d{1,3}(?:,\d{3}){1,4}(?:\.\d{1,2})?|\d{1,3}(?:\.\d{3}){1,4},\d{1,2}|\d{1,3}(?:\.\d{3}){2,4}"
    r"|\d{1,3}(?: \d{3}){1,4}(?:[.,]\d{1,2})?"
    r"|\d{1,12}(?:[.,]\d{1,4})?)(?!\d))"
)
"""A number in figures, with marks for thousands and decimals."""

DIGITS = {c: value for row in ("零一二三四五六七八九", "〇壹贰叁肆伍陆柒捌玖") for value, c in enumerate(row)}
DIGITS |= {"两": 2}
STEPS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
BLOCKS = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
HAN = "".join([*DIGITS, *STEPS, *BLOCKS])
"""Characters of a number in Chinese."""
POINT = re.compile(rf"(?P<whole>[{HAN}]+)点(?P<decimals>[{''.join(DIGITS)}]+)(?P<block>[万亿]*)")
"""三点五万: with a block or a currency behind it, as it is a time of day too."""


def english(words: str) -> Decimal | None:
    """`two hundred and fifty thousand` is 250000; None for words in no order of a number ("five six")."""
    total = section = 0
    room = 1000
    for word in re.findall("[a-z]+", words.lower()):
        if word == "and":
            continue
        if word in UNITS:
            value = UNITS[word]
            if value >= room or (room == 10 and value == 0):
                return None
            section, room = section + value, 10 if value >= 20 else 0
        elif word == "hundred":
            section, room = max(section, 1) * 100, 100
        else:
            total, section, room = total + max(section, 1) * LARGE[word], 0, 1000
    return Decimal(total + section)


def chinese(text: str) -> Decimal | None:
    """三千五百, 一千二 (1200), 二〇二六, 3.5万 or 1,234.50 as a number; None when it is none."""
    if point := POINT.fullmatch(text):
        value = (chinese(point["whole"]) or 0) + Decimal("0." + "".join(str(DIGITS[c]) for c in point["decimals"]))
        return value * prod(BLOCKS[c] for c in point["block"])
    if figures := re.match(r"[\d., ]+", text):
        text = text[figures.end() :]
    elif len(text) > 1 and all(c in DIGITS for c in text):
        return Decimal("".join(str(DIGITS[c]) for c in text))
    pending = _figures(figures.group()) if figures else None
    total = section = Decimal(0)
    last = 1
    for c in text:
        if c in DIGITS:
            if pending:
                return None
            pending = Decimal(DIGITS[c])
            last = last if pending else 1
        elif c in STEPS:
            section, pending, last = section + (1 if pending is None else pending) * STEPS[c], None, STEPS[c]
        else:
            section += pending or 0
            total = (total + section) * BLOCKS[c] if BLOCKS[c] > 10**4 else total + section * BLOCKS[c]
            section, pending, last = Decimal(0), None, BLOCKS[c]
    if pending and last >= 100:
        pending *= last // 10
    return total + section + (pending or 0)


def _figures(text: str) -> Decimal:
    """1,234.50 and 1.234,50 alike: the last mark is that of decimals, unless all are alike and stand for thousands."""
    text = text.replace(" ", "")
    marks = [c for c in text if c in ".,"]
    tail = len(text) - 1 - max(text.rfind("."), text.rfind(","))
    if len(set(marks)) == 1 and tail == 3 and (len(marks) > 1 or marks[0] == ","):
        return Decimal(re.sub("[.,]", "", text))
    *whole, decimals = re.split("[.,]", text)
    return Decimal("".join(whole) + "." + decimals if whole else decimals)
