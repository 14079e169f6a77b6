"""Answers from passages: word for word by default, or in the words of a language model whose citations are checked.

A model sees the question with everything personal masked, and passages as data between marks that nobody can guess.
What it writes is used only when every sentence cites a passage that it was given and says what stands there; else the
customer gets the passage itself.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from common.llm.orders import ORDERS
from common.llm.writer import Message, Writer, WriterFailed
from common.text.identifiers import fold
from finance.customer_service.masking import mask
from finance.customer_service.numbers import HAN, WORDS, chinese, english
from finance.customer_service.replies import text_of
from finance.customer_service.retrieval import Passage, Retriever, terms
from finance.customer_service.understood import Language

LONGEST = 1200
"""Characters of an answer."""
SHARED = 0.6
"""Least share of a sentence's words that its passages must have."""

CITED = re.compile(r"\[([a-z0-9_-]+#\d+)\]")
SENTENCE = re.compile(r"[^.!?。！？\n]*(?:[.!?](?!\s|$)[^.!?。！？\n]*)*[.!?。！？]*(?:\s*\[[^\]\s]+\])*")
NUMBERS = re.compile(rf"(?P<figures>\d+(?:[.:]\d+)*)|(?P<en>{WORDS})|(?P<zh>[{HAN}]+)", re.IGNORECASE)
LINKS = re.compile(
    r"https?:|www\.|\b[\w-]+\.(?:com|net|org|io|cn|ru|info|xyz|top|co)\b|@|\+\d{6}|<|>|```", re.IGNORECASE
)
NOT = re.compile(r"\b(?:not?|never|cannot|can't|nobody|neither|nor|without|don't|doesn't|isn't|won't)\b|[不没无未勿]")
ASKS = re.compile(
    r"\b(?:send|tell|give|enter|provide|share|reply|confirm|type)\b.{0,40}\b"
    r"(?:pin|password|codes?|card number|cvv|account number)\b"
    r"|(?:发送?|告诉|提供|输入|回复|填写).{0,12}(?:密码|验证码|卡号|账号|身份证)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Answer:
    """A reply with its citations; `written` by the model or not, and if not, `why` (nothing personal in it)."""

    text: str
    passages: tuple[Passage, ...]
    written: bool = False
    why: str = ""


class Answers:
    """Finds passages and words them."""

    def __init__(self, retriever: Retriever, writer: Writer | None = None) -> None:
        self._retriever, self._writer = retriever, writer

    def lookup(self, text: str, language: Language, intents: Sequence[str] = ()) -> str | None:
        """The reply to a question with its citations, or None when no passage answers it. Never raises."""
        answer = self.answer(text, language, intents)
        return answer.text if answer else None

    def answer(self, text: str, language: Language, intents: Sequence[str] = ()) -> Answer | None:
        """As `lookup`, with the passages and whether the model wrote it."""
        passages = tuple(clean(passage) for passage in self._retriever.search(text, 3, language, intents))
        passages = tuple(passage for passage in passages if passage.text)
        return word(text, language, passages, self._writer) if passages else None


def word(question: str, language: Language, passages: Sequence[Passage], writer: Writer | None) -> Answer:
    """Word at least one passage as an answer; by the model when it is there, answers, and its answer holds."""
    plain = Answer(f"{passages[0].text} [{passages[0].id}]", (passages[0],))
    if writer is None:
        return plain
    try:
        written = writer.write(prompt(question, language, passages))
    except WriterFailed as error:
        return replace(plain, why=error.what)
    except Exception as error:  # a plug-in of others must not end a dialogue
        return replace(plain, why=f"the writer broke ({type(error).__name__})")
    if fault := check(written, language, passages):
        return replace(plain, why=fault)
    cited = set(CITED.findall(written))
    return Answer(written, tuple(passage for passage in passages if passage.id in cited), written=True)


def prompt(question: str, language: Language, passages: Sequence[Passage]) -> list[Message]:
    """What the model is told: rules, and between marks drawn anew each time the passages and the masked question."""
    mark = f"==={secrets.token_hex(8)}==="
    data = [f"{mark} {passage.id}\n{passage.title}\n{passage.text}" for passage in passages]
    asked = {"en": "question", "zh": "问题"}[language]
    data.append(f"{mark} {asked}\n{_plain(mask(question[:1000]))}\n{mark}")
    return [
        Message("system", text_of("rules", language).format(id=passages[0].id, mark=mark)),
        Message("user", "\n".join(data)),
    ]


def clean(passage: Passage) -> Passage:
    """A passage without the sentences that give orders to a model, and without marks that could close its frame."""
    kept = [part for part in sentences(passage.text) if not ORDERS.search(fold(part))]
    title = "" if ORDERS.search(fold(passage.title)) else passage.title
    return replace(
        passage,
        title=_plain(title),
        text=_plain(" ".join(kept)) if len(kept) < len(sentences(passage.text)) else passage.text,
    )


def _plain(text: str) -> str:
    return re.sub(r"[<>{}]|={3,}", " ", text)


def sentences(text: str) -> list[str]:
    """The sentences of a text, each with the citations that follow it."""
    return [part for found in SENTENCE.finditer(text) if (part := found.group().strip())]


def check(written: str, language: Language, passages: Sequence[Passage]) -> str:
    """Why a written answer must not be used, or nothing when every sentence holds."""
    if len(written) > LONGEST:
        return "the answer is too long"
    if written.strip().strip(".").upper() == "NOTHING":
        return "the model found no answer in the passages"
    if ("zh" if re.search(r"[\u4e00-\u9fff]", written) else "en") != language:
        return "the answer is in another language"
    if ORDERS.search(fold(written)) or LINKS.search(fold(written)):
        return "the answer holds a link or an order"
    if not written.strip():
        return "the answer is empty"
    known = {passage.id: f"{passage.title}. {passage.text}" for passage in passages}
    for sentence in sentences(written):
        ids = CITED.findall(sentence)
        if not ids:
            return "a sentence cites nothing"
        if not set(ids) <= known.keys():
            return "a citation names no passage"
        if fault := _unsupported(CITED.sub("", sentence), [known[one] for one in ids]):
            return fault
    return ""


def _unsupported(sentence: str, sources: Sequence[str]) -> str:
    said, source = fold(sentence), fold(" ".join(sources))
    if not _numbers(said) <= _numbers(source):
        return "a number is not in the passage"
    words, known = set(terms(sentence)), set(terms(" ".join(sources)))
    if words and len(words & known) < SHARED * len(words):
        return "a sentence says what is not in the passage"
    if ASKS.search(said) and not ASKS.search(source):
        return "the answer asks for a secret"
    nearest = max(sentences(" ".join(sources)), key=lambda part: len(words & set(terms(part))))
    if bool(NOT.search(said.lower())) != bool(NOT.search(fold(nearest).lower())):
        return "a sentence denies what the passage says, or the other way round"
    return ""


def _numbers(text: str) -> set[str]:
    """The numbers of a text, in figures or words, but for one: "a", "one" and 一 are no claims."""
    found = set()
    for match in NUMBERS.finditer(re.sub(r"(?<=\d),(?=\d{3})", "", text)):
        value = match["figures"] or (english(match["en"]) if match["en"] else chinese(match["zh"]))
        found |= {str(value)} if value is not None else set()
    return found - {"0", "1"}
