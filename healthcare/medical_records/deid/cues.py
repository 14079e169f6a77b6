"""Names, places and employers that the words around them announce; and what a note has once named, found again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from healthcare.medical_records.deid.identifiers import Identifier, Kind
from healthcare.medical_records.deid.patterns import cue_words
from healthcare.medical_records.deid.simulator import tables

Found = tuple[Kind, int, int]

_CUES, _LISTS = cue_words(), tables()[0]["zh"]


def _any(part: str, name: str) -> str:
    return f"(?:{'|'.join(_CUES[part][name])})"


_UPPER = "[A-ZÀ-ÖØ-ÞĀĂĄĆČĎĐĒĘĚĞĢĪĶŁĽŃŅŇŐŒŔŘŚŞŠŢŤŪŮŰŲŹŻŽ]"
_WORD = rf"{_UPPER}[^\W\d_]*(?:['’-]{_UPPER}?[^\W\d_]+)*"
_NO = rf"(?!(?:{_any('names', 'not')}|{_any('names', 'titles')})\b)"
_MORE = rf"(?:[ ]{_NO}(?:{_UPPER}\.|{_WORD})){{0,3}}"
_FULL = rf"(?P<it>{_NO}{_WORD}{_MORE})"
_LISTED = rf"(?P<it>{_NO}{_WORD}(?:,[ ]{_WORD}(?:[ ]{_UPPER}\b(?!['’])\.?)?|{_MORE}))"
_ZH = "\u4e00-\u9fff"
_SURNAME = rf"(?:{'|'.join(_LISTS['last_two'].split())}|[{_LISTS['last']}])"
_SHORT = rf"(?P<it>{_SURNAME}[{''.join(dict.fromkeys(_LISTS['female'] + _LISTS['male']))}]{{1,2}})"
_END = r"(?=[\s,。;:、!()/\d]|$|电话|身份|性别|年龄|先生|女士|医[生师]|主任|主治|护士|男|女|代诉|陈述|签|联系|于|因)"
_PROVINCE, _TOWNS = ("|".join(_LISTS[name].split()) for name in ("provinces", "towns"))
_RANK = "(?:主任|副主任|主治|住院|责任)?(?:医[生师]|护士|大夫|教授)"
_STREET_ZH = (
    rf"(?:[{_ZH}\d]{{1,12}}?{_any('places', 'streets_zh')})"
    rf"(?:[{_ZH}\dA-Za-z-]{{0,6}}?\d{{1,5}}{_any('places', 'units_zh')}?){{0,5}}\d{{0,5}}"
)
NAMES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b{_any('names', 'titles')}\b\.? {{1,2}}{_FULL}",
        rf"(?i:^|[\n.;(]|\b)(?i:{_any('names', 'roles')})[ ]?:[ ]{{0,3}}{_LISTED}",
        rf"\b(?i:{_any('names', 'deeds')} by):?[ ]{_FULL}",
        rf"{_FULL}(?:,[ ]?{_any('names', 'degrees')}|[ ](?:MD|M\.D\.|RN|PhD))(?!\w)",
        rf"\b(?i:(?:his|her|the|my|their|patient's) (?:\w{{1,20}} )?{_any('names', 'kin')}),?"
        rf" (?:(?:is )?(?:named|called) |is )?{_FULL}",
        rf"\b(?i:(?:my|his|her|full|maiden|last|first|sur) ?name(?:'s| is|:)) {_FULL}",
        r"\b(?i:my name is|i am called|name's)[ ](?P<it>[^\W\d_]+(?:[ ][^\W\d_]+)?)(?=[.,!\n]|$)",
        rf"{_any('names', 'roles_zh')}[:是为]\s?(?P<it>{_SURNAME}[{_ZH}·]{{1,3}}?){_END}",
        rf"{_SHORT}(?={_RANK}|先生|女士|小姐|主任|护士长|技师)",
        rf"(?:(?<![{_ZH}])|(?<=[由请经与及向让找为对跟嘱])|(?<=建议|联系|通知|告知|患者|病人))"
        rf"(?P<it>{_SURNAME})(?=(?:主任|副主任)(?!委)|医[生师]|大夫|教授|护士|先生|女士|小姐|阿姨|师傅)",
        rf"(?:患者|病人|患儿|产妇)(?P<it>{_SURNAME}[{_ZH}]{{1,2}})(?=[,( ]{{0,2}}[男女])",
        rf"(?:患者|病人|患儿|产妇){_SHORT}(?=,|因|诉|系)",
        rf"(?:{_any('names', 'kin_zh')}|其[子女夫妻父母兄弟姐妹]){_SHORT}(?=[\s,。;(患代陈诉签电])",
        rf"(?:^|(?<=[\n。;,])){_SHORT}(?=,\s?[男女]|诉)",
        rf"{_any('names', 'roles_zh')}{_SHORT}(?=[\s,。;(执测签代陈记报查]|$)",
    )
)
PLACES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?:(?<=[住于在址到为自由从去往来:])|(?={_PROVINCE}|{_TOWNS}))"
        rf"(?P<it>(?:(?:{_PROVINCE})(?:省|自治区|壮族自治区)?|(?:北京|上海|天津|重庆)市?)?"
        rf"(?:[{_ZH}]{{2,6}}?(?:市|自治州|地区|盟))?(?:[{_ZH}]{{1,6}}?[区县旗])?{_STREET_ZH})",
        rf"{_any('places', 'homes_zh')}[:于在为是]?\s?(?P<it>[^\s,。;:()]{{2,40}})",
        rf"(?P<it>(?:{_PROVINCE})(?:省|自治区)?[{_ZH}]{{1,6}}?[市县区](?:[{_ZH}]{{1,6}}?[区县镇乡村])?)",
        r"邮(?:政编码|编)[:是为]?\s?(?P<it>\d{6})(?!\d)",
        rf"\b(?P<it>(?:{'|'.join(tables()[0]['en']['states'].split())}) \d{{5}}(?:-\d{{4}})?)(?!\d)",
        r"(?P<it>(?i:\b(?:(?:psc|unit|cmr) \d{1,5},? box \d{1,5}[\s,]{1,3})?"
        r"(?:p\.? ?o\.? box|[adf]po a[aep]) \d{1,6}))",
        rf"\b(?P<it>\d{{1,6}}[ ](?:{_WORD}\.?[ ]){{1,4}}{_any('places', 'streets')}\b\.?"
        r"(?:,? (?:Apt|Suite|Unit|#)\.? ?\w{1,6})?(?:, [A-Z]\w+(?: [A-Z]\w+)?(?:, [A-Z]{2}(?: \d{5})?)?)?)",
    )
)
EMPLOYERS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b(?P<it>(?:{_WORD}[ ]|St\. )(?:{_WORD}[ ]){{0,3}}{_any('places', 'cares')})\b",
        r"(?:工作单位|单位)[:为是]\s?(?P<it>[^\s,。;:]{2,20})",
        rf"(?P<it>(?:{_TOWNS}|{_PROVINCE})[{_ZH}]{{0,10}}?{_any('places', 'employers_zh')}"
        rf"(?:附属[{_ZH}]{{0,6}}?医院)?)",
    )
)
COMMON = frozenset(_CUES["names"]["common"])
"""Names that are also words: not looked for again."""


def find(folded: str) -> Iterator[Found]:
    """Kind, start and end of what its surroundings announce."""
    kinds: tuple[tuple[Kind, tuple[re.Pattern[str], ...]], ...]
    kinds = (("organization", EMPLOYERS), ("name", NAMES), ("location", PLACES))
    for kind, patterns in kinds:
        for pattern in patterns:
            for match in pattern.finditer(folded):
                yield kind, *match.span("it")


def again(folded: str, found: Sequence[Identifier]) -> Iterator[Found]:
    """Other places of the names that a note has: whole ones, and their words where they begin with a capital."""
    words: set[str] = set()
    for it in found:
        if it.kind == "name":
            if any("\u4e00" <= c <= "\u9fff" for c in it.text):
                words |= {it.text} if len(it.text) > 1 else set()
            else:
                parts = re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", it.text)
                words |= {part for part in parts if len(part) > 2 and part.lower() not in COMMON}
    latin = sorted(re.escape(word) for word in words if word[0] < "\u3400")
    han = sorted((re.escape(word) for word in words if word[0] >= "\u3400"), key=len, reverse=True)
    if latin:
        for match in re.finditer(rf"(?<!\w)(?:{'|'.join(latin)})(?!\w)", folded, re.IGNORECASE):
            if match.group()[0].isupper():
                yield "name", *match.span()
    if han:
        for match in re.finditer("|".join(han), folded):
            yield "name", *match.span()


def known(folded: str, values: Sequence[tuple[Kind, str]]) -> Iterator[Found]:
    """Places of what is known of the patient (name, record number, address), in any case and with any blanks."""
    for kind, value in values:
        parts = [re.escape(part) for part in re.findall(r"\w+", value)]
        if sum(len(part) for part in parts) < 2:
            continue
        whole = r"[\W_]{0,3}".join(parts)
        some = [part for part in parts if len(part) > 2 and part.lower() not in COMMON] if kind == "name" else []
        edge = r"(?<!\w)(?:{})(?!\w)" if value.isascii() else "(?:{})"
        for match in re.finditer(edge.format("|".join([whole, *some])), folded, re.IGNORECASE):
            yield kind, *match.span()
