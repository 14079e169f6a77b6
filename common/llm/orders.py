"""Words that give orders to the program that reads a text, English and Chinese: what prompt injections are made of.

Finding one proves nothing, and finding none proves nothing either; what a model writes is checked all the same.
"""

from __future__ import annotations

import re

ORDERS = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,40}\b(?:instruction|rule|above|previous|prompt|earlier|before)"
    r"|\b(?:system|assistant|developer|user)\s*(?:prompt|message)?\s*:|\byou are (?:now|no longer)\b|\bact as\b"
    r"|\bnew instructions?\b"
    r"|\b(?:as an|dear|note to(?: the)?) (?:ai|assistant|language model|llm|chatbot)\b|<\|?\w*\|?>|\[/?inst\]"
    r"|(?:忽略|无视|忘记|不要理会).{0,12}(?:指令|规则|以上|之前|上面|提示)|(?:系统|助手)(?:提示|指令|消息)?[:：]|你现在是|扮演",
    re.IGNORECASE,
)
"""For text folded by `common.text.identifiers.fold`."""
