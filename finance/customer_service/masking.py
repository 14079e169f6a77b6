"""What must not be logged or sent on, replaced by its kind: `[CARD]`, `[ACCOUNT]`, `[NAME]`.

Masks by form and by the words before: a name that nothing announces stays. Where in doubt it masks: every run of seven
digits or more goes, whatever stands between them, unless it reads as dates, times or one amount.
"""

from __future__ import annotations

import re

from common.text.identifiers import MAIL, RESIDENT, SPELT, SSN, fold, ibans, is_card
from finance.customer_service.identifiers import ACCOUNT, LAST_FOUR
from finance.customer_service.numbers import UNITS

SPOKEN = str.maketrans("〇零一幺二三四五六七八九壹贰叁肆伍陆柒捌玖", "001123456789123456789")
WORDS = {word: str(UNITS[word]) for word in UNITS if UNITS[word] < 10 and word not in ("a", "an")}
WORDS |= {"oh": "0", "nought": "0"}

_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_DATE = rf"(?:(?:19|20)\d\d[-/.](?:0?[1-9]|1[0-2])[-/.]{_DAY}|{_DAY}[-/.]{_DAY}[-/.](?:19|20)\d\d)"
_TIME = r"\d{1,2}:\d\d(?::\d\d(?:\.\d{1,6})?)?"
MOMENTS = re.compile(rf"(?:{_DATE}|{_TIME})(?:[ T,]{{1,2}}(?:{_TIME}|{_DATE})|-{_DATE})*Z?")
AMOUNT = re.compile(r"\d{1,9}\.\d{1,2}|\d{1,12}")
MONEY = re.compile(r"[$€£¥￥₹]|\b(?:usd|eur|gbp|cny|rmb|hkd)", re.IGNORECASE)
UNIT = re.compile(
    r" ?(?:[元块圆万亿]|美[元金]|[欧日澳加]元|港[元币]|英镑|[$€£]"
    r"|(?:dollar|euro|pound|yuan|usd|eur|gbp|cny|rmb|hkd)s?\b)",
    re.IGNORECASE | re.ASCII,
)
RUN = re.compile(r"(?:\+ ?|\()?\d(?:[^\w\n,，;。]{0,3}\d|[,\n_](?=\d{4}|\d(?!\d))\d){6,}[xX]?")
SAID = re.compile(rf"\b(?:{'|'.join(WORDS)})(?:[ ,\-]{{1,2}}(?:{'|'.join(WORDS)})){{5,}}\b", re.IGNORECASE)

_IS = r"(?:\s?(?:is|are|was|=|:|是|为|叫)\s?:?)?\s?"
_NAME = r"(?P<it>[A-Z](?:\.|[A-Za-z'’-]+)(?: [A-Z](?:\.|[A-Za-z'’-]+)){0,3})"
_ANY_CASE = (
    r"(?P<it>(?!(?:my|your|the|an?|not|it|and|i|in|on|to|at|we)\b)[a-z'’.-]+"
    r"(?: (?!(?:and|but|i|my|is|please|or)\b)[a-z'’.-]+){0,2})"
)
_SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田"
    "任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文欧"
)
_HAN = r"\u4e00-\u9fff"
_STOP = r",，。;；、!！?？\s"
_PAPERS = (
    r"(?:\b(?:passport|ssn|social security|national id|id card|identity card|driv(?:er|ing)'?s? licen[cs]e|tax id)"
    r"(?: (?:number|no\.?|card))?|护照|身份证|驾照|社保卡?)(?:号码?)?"
)
_CODES = (
    r"(?:\b(?:password|passcode|passphrase|pin|cvv2?|cvc2?|otp|(?:\w+ )?code)\b(?: number)?|密码|验证码|安全码|口令)"
)
CUES = tuple(
    (kind, re.compile(pattern, re.ASCII))
    for kind, pattern in (
        ("NAME", rf"(?i:\b(?:my|his|her|the|full|holder'?s?) name(?:\s?is|'s|\s?:|\s?=) ?{_ANY_CASE})"),
        ("NAME", rf"(?i:\b(?:i am|i'm|this is|call me|name is|regards,?|sincerely,?|thanks,|dear)):?\s{{1,2}}{_NAME}"),
        ("NAME", rf"(?i:\b(?:beneficiary|payee|recipient|holder|in the name of)(?: is)?):? {_NAME}"),
        ("NAME", rf"(?i:\b(?:transfer|send|pay|paid|sent|wire|give|owe)\b)[^.!?\n]{{0,40}}? to {_NAME}"),
        ("NAME", rf"{_NAME}(?= here\b)"),
        ("NAME", rf"(?i:\b(?:mr|mrs|ms|miss|dr|prof)\b\.?) {_NAME}"),
        (
            "NAME",
            rf"(?:姓名|名字|户名|收款人|持卡人|联系人)[是叫为:]? ?(?P<it>[{_HAN}·]{{2,4}}?)"
            rf"(?=[{_STOP}]|$|的|电话|手机|[账卡]号|\w)",
        ),
        ("NAME", rf"(?:我叫|本人叫|名字叫|名叫|[,，]叫)(?P<it>[{_HAN}·]{{2,4}}?)(?=[{_STOP}]|$|[的我想要]|\w)"),
        (
            "NAME",
            rf"(?:转给|汇给|付给|还给|给|我是|本人|向|[姐妹哥弟]{{1,2}}|老公|老婆|[儿妻]子|丈夫|女儿|朋友|同事|房东)"
            rf"(?P<it>(?:欧阳|司马|上官|诸葛|[{_SURNAMES}])[{_HAN}·]{{1,2}})"
            rf"(?=[{_STOP}转汇打付还的]|$|\d)",
        ),
        ("NAME", rf"(?P<it>[{_SURNAMES}][{_HAN}]{{0,2}}?)(?=先生|女士|小姐|太太|经理)"),
        ("SECRET", rf"(?i:{_CODES}){_IS}(?P<it>(?=[^\s,，。;；]{{0,40}}\d)[^\s,，。;；]+)"),
        ("SECRET", r"(?i:\b(?:password|passphrase|passcode)(?: is|'s|:|=)) ?(?P<it>[^\s,，。;；]+)"),
        ("SECRET", r"密码[是为:] ?(?P<it>[!-~]{3,})"),
        ("ID", rf"(?i:{_PAPERS}{_IS}#?(?P<it>(?=[A-Z0-9 -]{{0,6}}\d)[A-Z0-9](?:[ -]?[A-Z0-9]){{4,20}})(?![A-Z0-9]))"),
        (
            "DATE",
            rf"(?i:\b(?:born(?: on)?|date of birth|dob|birthday)\b|生日|出生日期|出生于|生于){_IS}"
            r"(?P<it>[^,，。;；!?\n]{4,24})",
        ),
        (
            "ADDRESS",
            rf"(?i:\b(?:my (?:new |home |postal )?address|i live (?:at|on|in)|i moved to)\b|地址|我住在?|家住){_IS}"
            r"(?P<it>[^。;；!?\n]{4,100})",
        ),
    )
)


def mask(text: str) -> str:
    """The text with everything that names, reaches or identifies a person replaced by its kind.

    Kinds: `[NAME]`, `[EMAIL]`, `[PHONE]`, `[CARD]`, `[ACCOUNT]`, `[IBAN]`, `[ID]`, `[SECRET]` (PIN, password, code),
    `[DATE]` (of birth), `[ADDRESS]`, `[NUMBER]` (seven digits or more of any other sort). Digits may be of any script
    or said in words. Masking twice changes nothing.
    """
    folded = fold(text)
    spans: list[tuple[int, int, str]] = [(start, end, "IBAN") for start, end, _ in ibans(folded)]
    spans += [(*found.span(), "EMAIL") for pattern in (MAIL, SPELT) for found in pattern.finditer(folded)]
    for kind, pattern in CUES:
        for found in pattern.finditer(folded):
            spans.append((*found.span("it"), kind))
    spans += [(*found.span("number"), "ACCOUNT") for found in ACCOUNT.finditer(folded)]
    spans += [(*found.span("number"), "CARD") for found in LAST_FOUR.finditer(folded)]
    spans += [(*found.span(), "ID") for found in SSN.finditer(folded)]
    spans += [(*found.span(), _kind(_spoken(found.group()))) for found in SAID.finditer(folded)]
    digits = folded.translate(SPOKEN)
    for found in RUN.finditer(digits):
        if not _harmless(digits, found):
            spans.append((*found.span(), _kind(found.group())))
    return _replace(text, spans)


def _replace(text: str, spans: list[tuple[int, int, str]]) -> str:
    """Overlapping spans become one, named by the first found of them."""
    parts, at = [], 0
    order = sorted(range(len(spans)), key=lambda i: spans[i][0])
    merged: list[tuple[int, int, int]] = []
    for i in order:
        start, end, _ = spans[i]
        if merged and start < merged[-1][1]:
            first, last, which = merged[-1]
            merged[-1] = (first, max(last, end), min(which, i))
        elif end > start:
            merged.append((start, end, i))
    for start, end, which in merged:
        parts += [text[at:start], f"[{spans[which][2]}]"]
        at = end
    return "".join([*parts, text[at:]])


def _harmless(folded: str, found: re.Match[str]) -> bool:
    """Whether a run of digits is dates and times, or one amount of money."""
    run = found.group()
    if MOMENTS.fullmatch(run):
        return True
    money = MONEY.search(folded[max(0, found.start() - 4) : found.start()]) or UNIT.match(folded, found.end())
    return bool(AMOUNT.fullmatch(run) and (money or "." in run))


def _spoken(words: str) -> str:
    return "".join(WORDS[word] for word in re.findall("[a-z]+", words.lower()))


def _kind(run: str) -> str:
    digits = "".join(c for c in run.upper() if c.isdigit() or c == "X")
    if RESIDENT.fullmatch(digits):
        return "ID"
    if any(is_card(digits[:size]) for size in range(13, 20)):
        return "CARD"
    if run[0] in "+(" or re.fullmatch(r"(?:0?0?86)?1[3-9]\d{9}|\d{10,11}", digits):
        return "PHONE"
    return "ACCOUNT" if 12 <= len(digits) <= 20 else "NUMBER"
