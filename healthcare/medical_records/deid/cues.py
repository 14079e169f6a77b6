"""Names, places and employers that the words around them announce; and what a note has once named, found again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from healthcare.medical_records.deid.identifiers import Identifier, Kind
from healthcare.medical_records.deid.simulator import tables

Found = tuple[Kind, int, int]

_UPPER = r"[A-ZÀ-ÖØ-ÞĀĂĄĆČĎĐĒĘĚĞĢĪĶŁĽŃŅŇŐŒŔŘŚŞŠŢŤŪŮŰŲŹŻŽ]"
_WORD = rf"{_UPPER}[^\W\d_]*(?:['’-]{_UPPER}?[^\W\d_]+)*"
_NOT_NAMES = (
    r"(?!(?:The|This|That|He|She|It|We|They|Patient|Pt|Mother|Father|History|Date|Age|Sex|Male|Female|Phone|Fax|MRN|DOB|MD|RN"
    r"|Clinic|Hospital|Chief|Medical|Reason|Diagnosis|Admission|Discharge|None|Unknown|No|Yes|Not|Has|Is|Was|Denies)\b)"
)
_FULL = rf"(?P<it>{_NOT_NAMES}{_WORD}(?:[ ]{_NOT_NAMES}(?:{_UPPER}\b\.?|{_WORD})){{0,3}})"
_LISTED = rf"(?P<it>{_NOT_NAMES}{_WORD}(?:,[ ]{_WORD}(?:[ ]{_UPPER}\b\.?)?|(?:[ ]{_NOT_NAMES}(?:{_UPPER}\b\.?|{_WORD})){{0,3}}))"
_ROLE = (
    r"(?:patient(?:'s)?(?: name)?|name|attending|physician|surgeon|provider|author|pcp|referr(?:ing|ed)(?: physician)?|cc|attn"
    r"|emergency contact|next of kin|contact|guarantor|subscriber|technologist|radiologist|interpreter|witness|nurse|resident)"
)
_KIN = r"(?:wife|husband|son|daughter|brother|sister|mother|father|partner|spouse|niece|nephew|aunt|uncle|friend|neighbor|grand\w+)"
_ZH = "\u4e00-\u9fff"
_NAMES = tables()[0]["zh"]
_SURNAME = rf"(?:{'|'.join(_NAMES['last_two'].split())}|[{_NAMES['last']}])"
_GIVEN = f"[{''.join(dict.fromkeys(_NAMES['female'] + _NAMES['male']))}]"
_FULL_ZH = rf"(?P<it>{_SURNAME}(?:[{_ZH}·]{{1,3}}?))"
_END = r"(?=[\s,，。;；:、!（）()/\d]|$|电话|身份|性别|年龄|先生|女士|医[生师]|主任|主治|护士|男|女|代诉|陈述|签|联系|于|因)"
_TOWNS = "|".join(_NAMES["towns"].split())
_PROVINCE = "|".join(_NAMES["provinces"].split())
NAMES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b(?:Dr|Mr|Mrs|Ms|Miss|Prof|Nurse|Doctor|Professor|Sister|Sgt|Capt|Rev)\b\.? {{1,2}}{_FULL}",
        rf"(?i:^|[\n.;(]|\b)(?i:{_ROLE})[ ]?:[ ]{{0,3}}{_LISTED}",
        rf"\b(?i:(?:dictated|signed|reviewed|seen|referred|performed|interpreted|examined|written|approved|verified) by):?[ ]{_FULL}",
        rf"{_FULL},? (?:MD|M\.D\.|DO|RN|NP|PA-C|PhD|Ph\.D\.|LPN|CRNA|MBBS|FACS|LCSW)(?!\w)",
        rf"\b(?i:(?:his|her|the|my|their|patient's) (?:\w+ )?{_KIN}),? (?:(?:is )?(?:named|called) |is )?{_FULL}",
        rf"\b(?i:(?:my|his|her|full|maiden|last|first|sur) ?name(?:'s| is|:)) {_FULL}",
        rf"\b(?i:my name is|i am called|name's)[ ](?P<it>[^\W\d_]+(?:[ ][^\W\d_]+)?)(?=[.,!\n]|$)",
        rf"(?:姓名|患者姓名|名字|联系人|签名|签字|记录者|医师|医生|家属|监护人|责任护士|护士|术者|主刀|助手|麻醉师|报告者|审核者|送检医师)[:是为]\s?{_FULL_ZH}{_END}",
        rf"(?P<it>{_SURNAME}{_GIVEN}{{1,2}})(?=(?:主任|副主任|主治|住院|责任)?(?:医[生师]|护士|大夫|教授)|先生|女士|小姐|主任|护士长|技师)",
        rf"(?P<it>{_SURNAME})(?=(?:主任|副主任)(?!委)|医生|大夫|教授|护士|护士长)(?<![{_ZH}]{{3}})",
        rf"(?:患者|病人|患儿|产妇)(?P<it>{_SURNAME}{_GIVEN}{{1,2}})(?=[,，（( ]{{0,2}}[男女]|[,，]|因|诉|系|，)",
        rf"(?:其|之)?(?:妻子?|丈夫|[儿妻]子|女儿?|母亲?|父亲?|配偶|兄|弟|姐|妹|家属)(?P<it>{_SURNAME}{_GIVEN}{{1,2}})(?=[\s,，。;；（(患代陈诉签电])",
        rf"(?:^|(?<=[\n。;；]))(?P<it>{_SURNAME}{_GIVEN}{{1,2}})(?=[,，]\s?[男女])",
    )
)
PLACES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?:(?<![{_ZH}])|(?<=[住于在址到系为自由从去往来])|(?={_PROVINCE}|{_TOWNS}))"
        rf"(?P<it>(?:(?:{_PROVINCE})(?:省|自治区|壮族自治区)?|(?:北京|上海|天津|重庆)市?)?(?:[{_ZH}]{{2,6}}?(?:市|自治州|地区|盟))?(?:[{_ZH}]{{1,6}}?[区县旗])?"
        rf"(?:[{_ZH}0-9]{{1,12}}?(?:路|街|大道|巷|胡同|镇|乡|村|小区|花园|家园|苑|城|庄|港湾|世纪新城))(?:[{_ZH}0-9A-Za-z-]{{0,6}}?\d{{1,5}}(?:号楼?|弄|栋|幢|座|单元|室|组|层|楼)?){{0,5}}\d{{0,5}})",
        r"(?:住址|地址|现住|家住|户籍|籍贯|出生地|居住地|住于|祖籍)[:于在为是]?\s?(?P<it>[^\s,，。;；:（(）)]{2,40})",
        rf"(?P<it>(?:{_PROVINCE})(?:省|自治区)?[{_ZH}]{{1,6}}?[市县区](?:[{_ZH}]{{1,6}}?[区县镇乡村])?)",
        r"邮(?:政编码|编)[:是为]?\s?(?P<it>\d{6})(?!\d)",
        r"(?i:\b(?:zip|postal|post)[ ]?code:?(?: is| number)? ?|\bzip:? )(?P<it>[A-Z0-9]{2,5}[ -]?[A-Z0-9]{2,5}|\d{3,6})\b",
        rf"\b(?P<it>(?:{'|'.join(tables()[0]['en']['states'].split())}) \d{{5}}(?:-\d{{4}})?)(?!\d)",
        r"(?i:\b(?:(?:psc|unit|cmr) \d{1,5},? box \d{1,5}[\s,]{1,3})?(?:p\.? ?o\.? box|[adf]po a[aep]) \d{1,6})",
        rf"\b(?P<it>\d{{1,6}}[ ](?:{_WORD}\.?[ ]){{1,4}}(?:Street|St|Avenue|Ave|Road|Rd|Drive|Dr|Lane|Ln|Court|Ct|Boulevard|Blvd|Way|Place|Terrace|Circle"
        r"|Parkway|Trail|Square)\b\.?(?:,? (?:Apt|Suite|Unit|#)\.? ?\w{1,6})?(?:, [A-Z]\w+(?: [A-Z]\w+)?(?:, [A-Z]{2}(?: \d{5})?)?)?)",
    )
)
EMPLOYERS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b(?P<it>(?:{_WORD}[ ]|St\. )(?:{_WORD}[ ]){{0,3}}(?:Hospital|Medical Center|Clinic|Nursing Home|Health System|Family Practice|Rehabilitation Center|University|College))\b",
        rf"(?:工作单位|单位)[:为是]\s?(?P<it>[^\s,，。;；:]{{2,20}})",
        rf"(?P<it>(?:{_TOWNS}|{_PROVINCE})[{_ZH}]{{0,10}}?(?:医院|卫生院|诊所|大学|学院|中学|小学|公司|厂|银行|局))",
    )
)
COMMON = frozenset("may will rose mark hope grace faith joy art bill grant summer june april august dawn".split())


def find(folded: str) -> Iterator[Found]:
    """Kind, start and end of what its surroundings announce."""
    for kind, patterns in (("organization", EMPLOYERS), ("name", NAMES), ("location", PLACES)):
        for pattern in patterns:
            for match in pattern.finditer(folded):
                yield kind, *match.span("it" if "it" in pattern.groupindex else 0)  # type: ignore[misc]


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
        some = [part for part in parts if len(part) > 2 and not part.isdigit()] if kind == "name" else []
        edge = r"(?<!\w)(?:{})(?!\w)" if value.isascii() else "(?:{})"
        for match in re.finditer(edge.format("|".join([whole, *some])), folded, re.IGNORECASE):
            yield kind, *match.span()
