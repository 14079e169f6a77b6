"""Identifiers that belong to nobody: what the simulator fills its lines with, and surrogates are made of."""

from __future__ import annotations

import calendar
import random
import string
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

from healthcare.medical_records.deid.identifiers import Kind

Pools = Mapping[str, list[str]]
Maker = Callable[[Pools, random.Random], str]
MONTHS, DAYS = list(calendar.month_name[1:]), list(calendar.day_name)
PLATES = "京津沪渝冀豫云辽黑湘皖鲁苏浙赣鄂甘晋蒙陕吉闽贵粤川青琼宁"


def digits(rng: random.Random, pattern: str) -> str:
    """`#` becomes a digit, `@` a capital letter, `~` either; the rest stays."""
    same = {"#": string.digits, "@": string.ascii_uppercase, "~": string.digits + string.ascii_uppercase}
    return "".join(rng.choice(same[c]) if c in same else c for c in pattern)


def some(*patterns: str) -> Maker:
    """A maker of one of these patterns."""
    return lambda _, rng: digits(rng, rng.choice(patterns))


def person(pools: Pools, rng: random.Random) -> str:
    """A full name, with a middle initial now and then, or a part of it."""
    first, last = first_name(pools, rng), rng.choice(pools["last"])
    form = rng.random()
    if form < 0.6:
        return f"{first} {last}"
    if form < 0.75:
        return f"{first} {rng.choice(string.ascii_uppercase)}{rng.choice(('.', ''))} {last}"
    if form < 0.8:
        return f"{first} {last}-{rng.choice(pools['last'])}"
    return first if form < 0.92 else last


def first_name(pools: Pools, rng: random.Random) -> str:
    """A given name, now and then a made-up one: no list has them all."""
    if rng.random() < 0.15:
        return invented(pools, rng)
    return rng.choice(pools[rng.choice(("female", "male"))])


def invented(pools: Pools, rng: random.Random) -> str:
    """A word that looks like a name and is none."""
    word = ""
    for _ in range(2 if rng.random() < 0.4 else 1):
        word += rng.choice(pools["made_starts"] if not word else [""])
        word += rng.choice(pools["made_vowels"]) + rng.choice(pools["made_middles"])
    return word + rng.choice(pools["made_ends"])


def city(pools: Pools, rng: random.Random) -> str:
    """A town, now and then a made-up one."""
    if rng.random() < 0.3:
        return invented(pools, rng) + rng.choice(pools["made_towns"])
    return rng.choice(pools["cities"])


def street(pools: Pools, rng: random.Random) -> str:
    """A street with or without a number, in the ways of several countries."""
    name = rng.choice((*pools["streets"], rng.choice(pools["last"]), invented(pools, rng)))
    number = str(rng.randint(1, 9999 if rng.random() < 0.5 else 300))
    form = rng.random()
    if form < 0.5:
        named = f"{name} {rng.choice(pools['street_kinds'])}"
        return f"{number} {named}" if rng.random() < 0.75 else named
    named = rng.choice(pools["street_abroad"]).replace("{x}", name)
    return f"{named} {number}" if rng.random() < 0.8 else named


def address(pools: Pools, rng: random.Random) -> str:
    """A postal address in one line or several."""
    form = rng.random()
    zipped, state = digits(rng, "#####"), rng.choice(pools["states"])
    if form < 0.06:
        return digits(rng, f"PSC ####, Box ####{rng.choice((chr(10), ', '))}APO {rng.choice(('AA', 'AE', 'AP'))} #####")
    if form < 0.1:
        return digits(rng, f"Unit #### Box ####\nDPO {rng.choice(('AA', 'AE', 'AP'))} #####")
    if form < 0.16:
        head = digits(rng, "P.O. Box ###")
    elif form < 0.22:
        return f"the corner of {street(pools, rng)} and {street(pools, rng)}"
    else:
        head = street(pools, rng)
        if rng.random() < 0.2:
            head = digits(rng, "#### ") + head
    if rng.random() < 0.4:
        head += rng.choice((" ", ", ", "\n ")) + digits(rng, rng.choice(("Apt. ###", "Suite ###", "Apt ##", "Unit #")))
    if rng.random() < 0.2:
        return head
    break_, town = rng.choice((", ", "\n", "\n ", " ")), city(pools, rng)
    tail = rng.choice(
        (
            f"{town}, {state} {zipped}",
            town,
            f"{town}{break_}{rng.choice(pools['countries'])} {zipped}",
            f"{zipped} {town}",
        )
    )
    return head + break_ + tail


def company(pools: Pools, rng: random.Random) -> str:
    """An employer, most of them made up."""
    return _named(rng.choice(pools["companies"]), pools, rng)


def hospital(pools: Pools, rng: random.Random) -> str:
    """A hospital or practice."""
    return _named(rng.choice(pools["hospitals"]), pools, rng)


def _named(text: str, pools: Pools, rng: random.Random) -> str:
    while "{made}" in text:
        made = rng.choice(pools["company_parts"]) + rng.choice(pools["company_ends"])
        text = text.replace("{made}", made, 1)
    for slot, key in (("last", "last"), ("city", "cities"), ("word", "company_words"), ("female", "female")):
        while f"{{{slot}}}" in text:
            text = text.replace(f"{{{slot}}}", rng.choice(pools[key]), 1)
    return text


def day(rng: random.Random) -> date:
    """Any day of eighty years."""
    return date(1945, 1, 1) + timedelta(days=rng.randrange(29_500))


def written_date(pools: Pools, rng: random.Random) -> str:
    """A day as Americans, Europeans and computers write it, now and then with the time."""
    when = day(rng)
    month = MONTHS[when.month - 1]
    ways = (
        f"{when.month}/{when.day}/{when.year}",
        f"{when:%m/%d/%Y}",
        f"{when:%m/%d/%y}",
        f"{when.isoformat()}",
        f"{when.isoformat()} {digits(rng, '1#:2#:3#')}",
        f"{month} {when.day}, {when.year}",
        f"{month[:3]} {when.day}, {when.year}",
        f"{when.day} {month} {when.year}",
        f"{when.day:02d}-{month[:3]}-{when.year}",
        f"{when:%d.%m.%Y}",
    )
    return rng.choice(ways)


def email(pools: Pools, rng: random.Random) -> str:
    """An address of electronic mail."""
    first, last = rng.choice(pools["female"] + pools["male"]), rng.choice(pools["last"]).replace(" ", "")
    user = rng.choice((f"{first}{last}", f"{first[0]}.{last}".lower(), f"{last}{rng.randint(1, 99)}".lower()))
    host = rng.choice(string.ascii_lowercase) + rng.choice(("mail", "nova", "teleco", "post", "hotel"))
    return f"{user.replace(chr(39), '')}@{host}{rng.randint(1, 99)}.{rng.choice(pools['domains'])}"


def url(pools: Pools, rng: random.Random) -> str:
    """A web address."""
    host = rng.choice(pools["company_parts"]) + rng.choice(pools["company_ends"])
    ways = ("https://www.{}.{}/", "http://{}.{}", "www.{}.{}", "https://{}.{}/patient/view?id=7")
    return rng.choice(ways).format(host, rng.choice(pools["domains"]))


def ip(_: Pools, rng: random.Random) -> str:
    """A network address of either version."""
    if rng.random() < 0.3:
        return ":".join(f"{rng.randrange(65536):x}" for _ in range(8))
    return ".".join(str(rng.randint(1, 254)) for _ in range(4))


def card(_: Pools, rng: random.Random) -> str:
    """A payment card with its check digit."""
    body = rng.choice("3456") + digits(rng, "#" * rng.choice((10, 12, 14)))
    total = sum(v - 9 if (v := int(c) * (2 - i % 2)) > 9 else v for i, c in enumerate(reversed(body)))
    number = body + str(-total % 10)
    return " ".join(re_four(number)) if rng.random() < 0.2 else number


def re_four(number: str) -> list[str]:
    """Digits in fours."""
    return [number[at : at + 4] for at in range(0, len(number), 4)]


def resident(_: Pools, rng: random.Random) -> str:
    """A Chinese resident identity number with its check character."""
    body = rng.choice(("110105", "310115", "440106", "330106", "510107")) + f"{day(rng):%Y%m%d}" + digits(rng, "###")
    return body + "10X98765432"[sum(int(c) * pow(2, 17 - i, 11) for i, c in enumerate(body)) % 11]


def person_zh(pools: Pools, rng: random.Random) -> str:
    """A Chinese name of two to four characters."""
    last = rng.choice(pools["last_two"]) if rng.random() < 0.04 else rng.choice(pools["last"])
    given = pools[rng.choice(("female", "male"))]
    return last + "".join(rng.choice(given) for _ in range(rng.choice((1, 2, 2))))


def address_zh(pools: Pools, rng: random.Random) -> str:
    """A Chinese postal address."""
    tail = (
        f"{rng.choice(pools['roads'])}{rng.randint(1, 399)}号",
        f"{rng.choice(pools['roads'])}{rng.randint(1, 399)}号{rng.randint(1, 30)}栋{rng.randint(101, 2505)}室",
        f"{rng.choice(pools['estates'])}{rng.randint(1, 30)}号楼{rng.randint(1, 6)}单元{rng.randint(101, 2505)}",
        f"{rng.choice(('李家', '王庄', '石桥', '大河'))}{rng.choice(('村', '镇', '乡'))}{rng.randint(1, 12)}组",
    )
    return rng.choice(pools["places"]) + rng.choice(tail)


def written_date_zh(_: Pools, rng: random.Random) -> str:
    """A day as Chinese notes have it."""
    when = day(rng)
    full = f"{when.year}年{when.month}月{when.day}日"
    return rng.choice(
        (full, full, f"{when.isoformat()}", f"{when:%Y.%m.%d}", f"{when:%Y/%m/%d}", f"{when.month}月{when.day}日")
    )


def _pick(key: str) -> Maker:
    return lambda pools, rng: rng.choice(pools[key])


def _place(key: str) -> Maker:
    return lambda pools, rng: rng.choice(pools[key]).replace("{town}", rng.choice(pools["towns"]))


def makers(language: str, forms: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[Kind, Maker]]:
    """Slot of a template to the kind of identifier and what makes one; `forms` is the table of `names.toml`."""
    known: dict[str, tuple[Kind, Maker]] = {
        "age": ("age", lambda _, rng: str(rng.randint(18, 99))),
        "group": ("group", _pick("groups")),
        "job": ("title", _pick("professions")),
        "email": ("email", lambda pools, rng: email(_latin(pools), rng)),
        "ip": ("ip", ip),
        "card": ("account", card),
    }
    known |= ENGLISH if language == "en" else CHINESE
    return known | {slot: (form["kind"], some(*form["forms"])) for slot, form in forms.items()}


ENGLISH: dict[str, tuple[Kind, Maker]] = {
    "name": ("name", person),
    "name_reversed": ("name", lambda pools, rng: f"{rng.choice(pools['last'])}, {first_name(pools, rng)}"),
    "first": ("name", first_name),
    "last": ("name", _pick("last")),
    "org": ("organization", company),
    "hospital": ("organization", hospital),
    "city": ("location", city),
    "country": ("location", _pick("countries")),
    "state": ("location", _pick("state_names")),
    "street": ("location", street),
    "address": ("location", address),
    "date": ("date", written_date),
    "year": ("date", lambda _, rng: str(rng.randint(1935, 2025))),
    "weekday": ("date", lambda _, rng: rng.choice(DAYS)),
    "honorific": ("title", _pick("honorifics")),
    "url": ("url", url),
}
CHINESE: dict[str, tuple[Kind, Maker]] = {
    "name": ("name", person_zh),
    "surname": ("name", _pick("last")),
    "org": ("organization", _place("employers")),
    "hospital": ("organization", _place("hospitals")),
    "town": ("location", _pick("towns")),
    "address": ("location", address_zh),
    "date": ("date", written_date_zh),
    "ssn": ("national_id", resident),
    "vehicle": ("vehicle", lambda _, rng: rng.choice(PLATES) + digits(rng, "@·#~###")),
}


def _latin(pools: Pools) -> Pools:
    """What a Latin user name is made of, also where names are Chinese."""
    if pools["female"][0].isascii():
        return pools
    return {
        "female": ["Li", "Mei", "Fang"],
        "male": ["Wei", "Jun"],
        "last": ["Wang", "Zhang", "Chen"],
        "domains": ["com.cn", "cn", "com"],
    }
