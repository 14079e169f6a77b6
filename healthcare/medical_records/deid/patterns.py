"""Identifiers that their form or the word before them tells: numbers, addresses of the net, dates, ages.

All patterns are for text folded by `common.text.identifiers.fold`, are bounded, and so take time in proportion to the
text. What only context tells (most names, places, employers) is the tagger's work, and `cues.py`'s.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from common.text.identifiers import MAIL, RESIDENT, SPELT, SSN, cards, ibans
from healthcare.medical_records.deid.identifiers import KINDS, Kind

Found = tuple[Kind, int, int]

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_DAY, _NUMBER, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:18|19|20)\d\d"
_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:\.\d{1,6})?)?(?: ?[ap]\.?m\b\.?)?"
_TIME = rf"(?:(?:[ T]|, ?| at ){_CLOCK}(?:Z|[+-]\d\d:?\d\d)?)?"
_HAN = "[〇零○一二三四五六七八九十]"
DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?<![\d./-])(?:{_YEAR}|21\d\d)([-/.]){_NUMBER}\1{_DAY}{_TIME}(?![\d/-])",  # MIMIC's are of 21xx
        rf"(?<![\d./-])(?:{_NUMBER}/{_DAY}|{_DAY}/{_NUMBER})/(?:{_YEAR}|\d\d){_TIME}(?![\d/])",
        rf"(?<![\d.-])(?:{_NUMBER}-{_DAY}|{_DAY}-{_NUMBER})-(?:{_YEAR}){_TIME}(?![\d-])",
        rf"(?<![\d.]){_DAY}\.{_NUMBER}\.{_YEAR}{_TIME}(?![\d.]\d)",
        rf"(?<![\d.])(?:{_DAY}(?:st|nd|rd|th)?(?:-|,? )(?:of )?{_MONTH}|{_MONTH} ?{_DAY}(?:st|nd|rd|th)?)"
        rf"(?:-|,? )(?:of )?(?:{_YEAR}|'?\d\d\b(?![:/%]| ?mg)){_TIME}(?!\d)",
        rf"(?<!\w)(?:{_MONTH},? (?:of )?{_YEAR}|{_YEAR}[- ]{_MONTH}[- ]{_DAY})(?!\d)",
        rf"(?<!\w)(?:{_MONTH} {_DAY}(?:st|nd|rd|th)?|{_DAY}(?:st|nd|rd|th)? (?:of )?{_MONTH})(?![\w/%]|[.,:]\d| ?mg)",
        r"\b(?:on|since|until|dated?|dos|dob|admitted|discharged|seen|through|before|after):? "
        rf"({_NUMBER}/{_DAY})(?![\d/]|\.\d)",
        r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b",
        rf"\b(?:in|since|until|before|after|during|from|by|of|circa|year|and|to) ({_YEAR})(?![\d%/-]|[.,:]\d| ?m[gl])",
        rf"(?:{_YEAR}年|{_HAN}{{4}}年|\d\d年(?=\d{{1,2}}月\d))(?:{_NUMBER}|{_HAN}{{1,2}})月"
        rf"(?:(?:{_DAY}|{_HAN}{{1,3}})[日号])?(?:[上下]午)?(?:{_CLOCK}|\d{{1,2}}[时点](?:\d{{1,2}}分)?)?",
        rf"(?<![\d.]){_NUMBER}月{_DAY}[日号](?:[上下]午)?(?:{_CLOCK})?",
        rf"(?<!\d){_YEAR}年(?![余来多])",
        r"(?:星期|周)[一二三四五六日天](?!围)",
    )
)
AGES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?<![\d.])(\d{1,3})(?:[ -]{1,2}years?[ -]{1,2}old| ?[- ]?y(?:ears?)?[ /.]?o\b| ?yrs?\.?[ -]old)",
        r"\b(?:aged?|age of|age is|died at(?: age)?|turn(?:ed|s|ing)?|turn):? (\d{1,3})(?![\d/%]|[.,]\d| ?m[gl])",
        r"(?<![\d.])(\d{1,3})(?:周?岁)",
        r"年龄[:为是 ]{0,2}(\d{1,3})(?!\d)",
    )
)
_PATH = "[^\\s<>\"',，。；;、）)]"
URL = re.compile(
    rf"(?:https?|ftp)://{_PATH}{{3,300}}|\bwww\.{_PATH}{{3,300}}"
    r"|\b(?<![@.-])(?:[a-z0-9-]{2,63}\.){1,4}(?:com|org|net|edu|gov|cn|info|co\.uk|de|fr|io)\b"
    rf"(?:/{_PATH}{{0,300}})?(?![@\w])",
    re.IGNORECASE | re.ASCII,
)
V4 = re.compile(r"(?<![\d.])(?:(?!0\d)\d{1,3}\.){3}\d{1,3}(?!\d|\.\d)")
V6 = re.compile(r"(?<![0-9a-f])(?<![0-9a-f]:)(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])", re.IGNORECASE)
UUID = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE)
PICTURE = re.compile(r"[\w.-]{1,80}\.(?:jpe?g|png|heic|bmp|gif|tiff?|dcm)\b", re.IGNORECASE)
PLATE = re.compile(
    r"(?P<it>[京津沪渝冀豫云辽黑湘皖鲁苏浙赣鄂桂甘晋蒙陕吉闽贵粤川青藏琼宁新][A-HJ-NP-Z][·. ]?"
    r"[A-HJ-NP-Z0-9]{5,6})(?![A-Z0-9])"
)
_EXTENSION = r"(?: ?(?:x|ext\.?) ?\d{1,6})?"
PHONES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?<![\w./-])(?P<it>(?:\+\d{1,3}[ -]?|001-|1-)?(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}"
        rf"{_EXTENSION})(?![\d-])",
        r"(?P<it>\+\d{1,3}[ -]?(?:\(0\))?(?:[ -]?\d{1,5}){2,5})(?!\d)",
        r"(?<!\d)(?P<it>(?:\+?86[- ]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4})(?!\d)",
        r"(?<![\w.])(?P<it>0\d(?:[. -]\d\d){4})(?![\d.]\d)",
        r"(?<!\d)(?P<it>0\d{2,3}-\d{7,8})(?!\d)",
        r"(?<![\w.])(?P<it>\(\d{2,4}\) ?\d{3,4}[ -]?\d{3,4})(?!\d)",
        r"\b(?:phone|tel|telephone|mobile|cell|pager|beeper|call|contact|desk|office|home|fax)[:.# ]{1,3}"
        rf"(?:(?:number|no\.?|at|is)[: ]{{1,2}}){{0,2}}(?P<it>\+?\(?\d[\d ().-]{{5,18}}\d{_EXTENSION})",
        r"(?:电话|手机|座机|联系方式|传真)(?:号码?)?[:是为 ]{0,2}(?P<it>\d[\d -]{5,14}\d)",
    )
)
FAX = re.compile(r"(?:\bfax\b|facsimile|传真)(?:号码?| number| no\.?)?[\s:#.]{0,3}$", re.IGNORECASE)
FAX_AFTER = re.compile(r" ?\(?fax\b", re.IGNORECASE)

_CODE = r"(?P<it>(?=[A-Z0-9()/*._-]{0,40}\d)[A-Z0-9(](?:[ ]?(?=[\d-])[A-Z0-9()/*.-]|[A-Z0-9()/*._-]){2,40}(?<![.)/-]))"
_ID = r"[ ]?(?:(?:(?:id|identifier|number|num|no|nr)\b\.?|#)|号码?|编号|ID)"
_IS = r"[\s:#=]{0,3}(?:(?:is|was|are|为|是)[\s:]{1,2})?[\s:#]{0,2}"


@cache
def cue_words() -> dict[str, dict[str, list[str]]]:
    """The words of `cues.toml`."""
    return tomllib.loads(files(__package__).joinpath("cues.toml").read_text(encoding="utf-8"))


def _codes() -> Iterator[tuple[Kind, re.Pattern[str]]]:
    named: dict[str, Kind] = {kind: kind for kind in KINDS}
    for part, ending in (("numbered", _ID), ("codes", rf"(?:{_ID})?")):
        for kind, words in cue_words()[part].items():
            cue = "|".join(rf"\b{word}" if word[0].isascii() and word[0].isalpha() else word for word in words)
            yield named[kind], re.compile(rf"(?:{cue}){ending}{_IS}{_CODE}", re.IGNORECASE)


CODES = tuple(_codes())
ACCOUNT_FORM = re.compile(r"(?<![A-Z0-9])[A-Z]{2}\d{2}(?=[A-Z]{0,6}\d)[A-Z0-9]{11,30}(?![A-Z0-9])", re.IGNORECASE)
CARD_CUED = re.compile(
    r"\b(?:card|cc|visa|mastercard|amex)\b[^\d\n.]{0,20}(?P<it>\d(?:[ -]?\d){11,18})(?![ -]?\d)", re.IGNORECASE
)
TAG = re.compile(
    r"\b(?:licen[cs]e |number )?(?:plates?|tag)\b[\s:#]{0,3}(?:(?:is|no\.?|number)\s)?"
    r"(?P<it>(?=[A-Z -]{0,4}\d)[A-Z0-9]{1,4}[ -]?[A-Z0-9]{2,5})\b",
    re.IGNORECASE,
)
ANY_MAIL = re.compile(r"[^\s@<>,;:()\[\]\"'，。；：、（）]{1,64}@(?:[^\W_][\w-]{0,62}\.){1,4}[^\W\d_]{2,24}\b")
POSTCODE = re.compile(
    r"\b(?:zip|postal|post)[ ]?(?:code)?(?:[ ]?(?:is|number)[: ]|:|[ ])[ ]?"
    r"(?P<it>\d{3,5}[ -]?\d{2,4}|\d{3,5}(?: [A-Z]{2}\b)?|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2})\b",
    re.IGNORECASE,
)
RUN = re.compile(
    r"(?<![\w.,])(?:[A-Z]{1,4}-?)?\d{7,24}(?:-\d{1,6})?(?![\w]|[.,]\d|\s?(?:copies|IU|cfu|cells?|/|×|x10|个))",
    re.IGNORECASE,
)
"""Seven digits in a row are no measurement, unless a unit of counts follows."""


def find(folded: str) -> Iterator[Found]:
    """Kind, start and end of what identifies, in the order of trust; spans may overlap."""
    for start, end, _ in ibans(folded):
        yield "account", start, end
    for match in ACCOUNT_FORM.finditer(folded):
        yield "account", *match.span()
    for match in CARD_CUED.finditer(folded):
        yield "account", *match.span("it")
    for pattern in (ANY_MAIL, SPELT, MAIL):
        for match in pattern.finditer(folded):
            if pattern is not MAIL or "@" not in match.group():  # MAIL: `name (at) host (dot) org`
                yield "email", *match.span()
    for match in URL.finditer(folded):
        yield "url", match.start(), match.start() + len(match.group().rstrip(".,;:!?"))
    for match in V4.finditer(folded):
        if all(int(part) < 256 for part in match.group().split(".")):
            yield "ip", *match.span()
    for match in V6.finditer(folded):
        if _is_v6(match.group()):
            yield "ip", *match.span()
    for match in UUID.finditer(folded):
        yield "other", *match.span()
    for match in PICTURE.finditer(folded):
        yield "photo", *match.span()
    for match in RESIDENT.finditer(folded):
        yield "national_id", *match.span()
    for pattern in (PLATE, TAG):
        for match in pattern.finditer(folded):
            yield "vehicle", *match.span("it")
    for pattern in DATES:
        for match in pattern.finditer(folded):
            yield "date", *_inner(match)
    for pattern in AGES:
        for match in pattern.finditer(folded):
            if int(match[1]) <= 130:
                yield "age", *match.span(1)
    for match in POSTCODE.finditer(folded):
        yield "location", *match.span("it")
    for kind, pattern in CODES:
        for match in pattern.finditer(folded):
            yield kind, *match.span("it")
    for match in SSN.finditer(folded):
        yield "national_id", *match.span()
    for start, end, _ in cards(folded):
        yield "account", start, end
    yield from _phones(folded)


def runs(folded: str) -> Iterator[Found]:
    """Numbers of which nothing tells what they are, but that are too long for anything but an identifier."""
    for match in RUN.finditer(folded):
        digits = sum(c.isdigit() for c in match.group())
        yield "account" if 11 < digits < 20 else "other", *match.span()


def _phones(folded: str) -> Iterator[Found]:
    for pattern in PHONES:
        for match in pattern.finditer(folded):
            start, end = match.span("it")
            fax = FAX.search(folded, max(0, start - 16), start) or FAX_AFTER.match(folded, end)
            yield "fax" if fax else "phone", start, end


def _inner(match: re.Match[str]) -> tuple[int, int]:
    """The part in brackets that is more than a separator, or all."""
    if match.re.groups and match[1] and len(match[1]) > 1:
        return match.span(1)
    return match.span()


def _is_v6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6 and sum(c.isdigit() or c.isalpha() for c in text) > 3
    except ValueError:
        return False
