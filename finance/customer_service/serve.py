"""An utterance in; what is meant, or a question, or a refusal with its reason out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field

from common.bundle import Bundle
from common.config import Strict
from common.llm.writer import LlmSettings, writer
from finance.customer_service.decide import Decided, decide
from finance.customer_service.entities import find
from finance.customer_service.language import LETTER, language_of
from finance.customer_service.model import Classifier
from finance.customer_service.reader import SMALL_TALK, read
from finance.customer_service.refusal import Gate
from finance.customer_service.replies import reply
from finance.customer_service.retrieval import Retriever, load_passages
from finance.customer_service.understood import Entity, Language, Understood
from finance.customer_service.wording import Answer as Told
from finance.customer_service.wording import Answers

if TYPE_CHECKING:
    from fastapi import APIRouter

LONGEST = 1_000
"""Characters of an utterance that is read; a longer one is refused, and so is nothing but its beginning understood."""


class Request(Strict):
    """One utterance of a customer."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"text": "I lost my card, please block it"}, {"text": "我的银行卡丢了", "today": "2026-11-29"}]
        }
    )

    text: str = Field(max_length=200_000, description="What the customer wrote, in English or Chinese")
    today: date | None = Field(None, strict=False, description="Day of words like tomorrow; without it the clock's")


class Intent(BaseModel):
    """An intent and its probability."""

    name: str
    score: float


class Named(BaseModel):
    """A thing that the utterance names, `text[start:end]`, and its normal form."""

    kind: Literal["amount", "currency", "date", "account", "card"]
    start: int
    end: int
    text: str
    value: str


class Cited(BaseModel):
    """A section of the bank's documents that answers; the reply names its id."""

    id: str
    title: str
    text: str
    score: float = Field(description="share of what was asked that the section is about")


class Answer(BaseModel):
    """What was understood, and what to do with it."""

    model_config = ConfigDict(protected_namespaces=())

    language: Literal["en", "zh"]
    decision: Literal["answer", "clarify", "refuse", "handoff"] = Field(
        description="clarify: a few intents are close, ask which; refuse: none of the intents, as far as one can tell; "
        "handoff: the customer asks for a person"
    )
    intents: list[Intent] = Field(
        description="answer: all that is asked for, in its order; clarify: what to choose from; else the best"
    )
    entities: list[Named] = Field(description="what the utterance names, read or refused")
    passages: list[Cited] = Field(description="what the reply rests on; empty where it comes from no document")
    reason: str = Field(description="why this decision, in words")
    reply: str = Field(description="what to say to the customer, in the customer's language")
    p_value: float | None = Field(description="share of requests in scope that are no more certain; null: not read")
    promised_recall: float | None = Field(description="share of requests of a new kind that are refused, as promised")
    model: str = Field(description="version of the bundle")
    simulated: bool = Field(description="true: learnt from simulated customers")


@dataclass(frozen=True)
class Brain:
    """The model of one language or more, with the gate of each."""

    classifier: Classifier
    gates: dict[str, Gate]
    in_question: float

    @classmethod
    def of(cls, state: dict[str, Any], bundle: Bundle, number: int) -> Self:
        """What a bundle keeps of it."""
        own = f"{number}-"
        files = {n.removeprefix(own): bundle.read(n) for n in bundle.manifest.files if n.startswith(own)}
        arrays = bundle.arrays(f"model-{number}.safetensors")
        gates = {language: Gate.of(gate) for language, gate in state["gates"].items()}
        return cls(Classifier.of(state["classifier"], arrays, files), gates, state["in_question"])


class CustomerServicePredictor:
    """Understands utterances; safe for threads, needs no training library."""

    request, response = Request, Answer
    sensitive = frozenset({"text"})
    tolerance = 1e-5  # single precision

    def __init__(
        self, brains: Sequence[Brain], most_asked: int, tasks: Mapping[str, str], version: str, simulated: bool
    ) -> None:
        self.brains = {language: brain for brain in brains for language in brain.gates}
        self.most_asked, self.tasks, self.version, self.simulated = most_asked, tasks, version, simulated
        retriever = Retriever(load_passages())
        self._plain = Answers(retriever)
        self._worded = Answers(retriever, writer(LlmSettings()))

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Self:
        """Build the predictor from a verified bundle."""
        kept = bundle.json("preprocess.json")
        brains = [Brain.of(state, bundle, number) for number, state in enumerate(kept["brains"])]
        return cls(brains, kept["most_asked"], kept["tasks"], bundle.manifest.version, bundle.manifest.simulated)

    def predict(self, batch: Sequence[Request]) -> list[Answer]:
        """Answers in the order of the batch, each as if it came alone."""
        return [self._answer(request, *self._decide(request.text)) for request in batch]

    def understand(self, text: str) -> Understood:
        """For the dialogue, in the intents that tasks are for; one that is asked for has at least .5."""
        language, found, said = self._decide(text)
        decision = "answer" if found.decision == "handoff" else found.decision
        least = 0.5 if decision == "answer" else 0.0
        intents = {self.tasks.get(name, name): max(chance, least) for name, chance in found.intents}
        unread = cast(Any, said if said in REASONS else "")
        named = tuple(_entities(text, None))
        return Understood(language, tuple(intents.items()), decision, named, found.reason, unread)

    def lookup(self, text: str, language: Language, intents: Sequence[str]) -> str | None:
        """For the dialogue: a reply from documents with its citations, worded by a language model where one is set."""
        return self._worded.lookup(text, language, intents)

    @classmethod
    def routes(cls, predictor: Callable[[], CustomerServicePredictor]) -> APIRouter:
        """Sessions of dialogues, and the page to talk in one."""
        from finance.customer_service.routes import dialogue_routes

        return dialogue_routes(predictor)

    def _decide(self, text: str) -> tuple[Language, Decided, str]:
        """Language, decision, and the name of the reply."""
        language, unread = self._unread(text)
        if unread:
            return language, Decided("refuse", (), REASONS[unread].format(n=len(text)), None), unread
        models = {spoken: brain.classifier for spoken, brain in self.brains.items()}
        decided = decide(self.brains, language, read(models[language], [text], models)[0], self.most_asked)
        return language, decided, decided.decision

    def _unread(self, text: str) -> tuple[Language, str]:
        """The language, and why the text is not read; empty when it is."""
        known = language_of(text[:LONGEST])
        language = known or "en"
        if not LETTER.search(text):
            return language, "empty"
        if len(text) > LONGEST:
            return language, "long"
        return language, "" if known in self.brains else "language"

    def _answer(self, request: Request, language: Language, found: Decided, said: str) -> Answer:
        names = [name for name, _ in found.intents]
        if said == "answer" and names[0] in SMALL_TALK:
            said = names[0]
        told: list[Told | None] = []
        for name in names if said == "answer" else []:
            one = self._plain.answer(request.text, language, [self.tasks.get(name, name)])
            before = {p.id for other in told if other for p in other.passages}
            told.append(one if one and not before & {p.id for p in one.passages} else None)  # each passage once
        known = [one for one in told if one]
        rest = [name for name, one in zip(names, told, strict=True) if not one] if told else names
        spoken = [one.text for one in known] + ([reply(said, language, rest)] if rest or not told else [])
        gate = self.brains[language].gates[language] if language in self.brains else None
        return Answer(
            language=language,
            decision=found.decision,
            intents=[Intent(name=name, score=score) for name, score in found.intents],
            entities=[Named(**asdict(entity)) for entity in _entities(request.text, request.today)],
            passages=[Cited(**{n: getattr(p, n) for n in Cited.model_fields}) for one in known for p in one.passages],
            reason=found.reason,
            reply="\n".join(dict.fromkeys(spoken)),
            p_value=found.p_value,
            promised_recall=gate.promised if gate else None,
            model=self.version,
            simulated=self.simulated,
        )


def _entities(text: str, today: date | None) -> list[Entity]:
    return find(text[:LONGEST], today or date.today())


REASONS = {
    "empty": "the message has no word",
    "long": f"the message has {{n:,}} characters, at most {LONGEST:,} are read",
    "language": "the message is in neither English nor Chinese",
}
