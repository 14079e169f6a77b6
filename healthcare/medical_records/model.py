"""What reads records: a dictionary, a token model of each language, and the tagger of identifiers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from common.bundle import Bundle
from common.text.onnx_tagger import OnnxTagger
from healthcare.medical_records.deid.tagger import Tagger
from healthcare.medical_records.dictionary import Dictionary
from healthcare.medical_records.ner import find_entities
from healthcare.medical_records.notes import Note, language_of, read_note
from healthcare.medical_records.spans import Entity, Language

FILES = ("dictionary.json", "identifiers.json", "entities-")
"""Names of a reader's files in a bundle, or how they begin."""


@dataclass(frozen=True)
class Graph:
    """A token model as `train_ner` gives it: an ONNX graph and its state as JSON."""

    content: bytes
    state: dict[str, Any]


class RecordReader:
    """Reads notes; safe for threads. `graphs` has a token model for some languages or for none."""

    def __init__(self, dictionary: Dictionary, graphs: Mapping[Language, Graph], identifiers: Tagger) -> None:
        self.dictionary, self.graphs, self.identifiers = dictionary, dict(graphs), identifiers
        self.finders = {language: OnnxTagger(graph.content, graph.state) for language, graph in self.graphs.items()}

    def read(self, text: str) -> Note:
        """As `read_note`, which says what it raises, with what the token model of the language finds."""
        finder = self.finders.get(language_of(text))
        return read_note(text, self.dictionary, find_entities([text], finder)[0] if finder else ())

    def coded(self, entity: Entity) -> Entity:
        """With the codes that the dictionary has for the very same words and kind."""
        known = self.dictionary.find(entity.text)
        same = len(known) == 1 and len(known[0].text) == len(entity.text) and known[0].kind == entity.kind
        return replace(entity, codes=known[0].codes) if same else entity

    def arrays(self) -> dict[str, np.ndarray]:
        """What a bundle keeps as safetensors."""
        return self.identifiers.state()[0]

    def files(self) -> dict[str, bytes]:
        """What a bundle keeps as files."""
        return {
            "dictionary.json": self.dictionary.state().encode(),
            "identifiers.json": json.dumps(self.identifiers.state()[1], ensure_ascii=False).encode(),
            **{f"entities-{language}.onnx": graph.content for language, graph in self.graphs.items()},
            **{
                f"entities-{language}.json": json.dumps(graph.state, ensure_ascii=False).encode()
                for language, graph in self.graphs.items()
            },
        }

    @classmethod
    def load(cls, bundle: Bundle) -> Self:
        """From a verified bundle."""
        files = {name: bundle.read(name) for name in bundle.manifest.files if name.startswith(FILES)}
        return cls.of(bundle.arrays("model.safetensors"), files)

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], files: Mapping[str, bytes]) -> Self:
        """What `arrays` and `files` gave. Raises `BundleCorrupted` for another dictionary."""
        graphs: dict[Language, Graph] = {
            language: Graph(files[f"entities-{language}.onnx"], json.loads(files[f"entities-{language}.json"]))
            for language in ("en", "zh")
            if f"entities-{language}.onnx" in files
        }
        dictionary = Dictionary.from_state(files["dictionary.json"].decode())
        return cls(dictionary, graphs, Tagger.of(arrays, json.loads(files["identifiers.json"])))
