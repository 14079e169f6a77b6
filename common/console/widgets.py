"""The Gradio component of each kind of field."""

from __future__ import annotations

from typing import Any

import gradio as gr

from common.console.form import FormField
from common.console.words import Say

NOTHING = "–"


def widget(field: FormField, value: Any, say: Say) -> Any:
    """The component that asks for one field. Bounds are shown and not enforced: the service judges, in one place."""
    may_be_empty = field.nullable or not (field.required or field.default is not None)
    star = f" ({say('optional')})" if may_be_empty else ""
    common: dict[str, Any] = {"label": f"{say(field.label)}{star}", "elem_classes": [f"esp-field-{field.name}"]}
    match field.kind:
        case "choice" | "yes_no":
            choices = field.choices or (True, False)
            named = [(_level(choice, say), choice) for choice in choices]
            if field.kind == "yes_no" and not may_be_empty:
                return gr.Checkbox(value=bool(value), **common)
            if may_be_empty:
                named = [(NOTHING, ""), *named]
            return gr.Dropdown(named, value=value, filterable=len(named) > 12, **common)
        case "slider":
            low, high = field.low or 0, field.high or 0
            start = low if value is None else value
            return gr.Slider(low, high, value=start, step=1 if field.integer else 0.01, buttons=[], **common)
        case "number" if value is None or may_be_empty:
            # An empty gr.Number shows, and sends, a 0 that nobody typed.
            shown = "" if value is None else str(value)
            return gr.Textbox(value=shown, info=field.bounds or None, **common)
        case "number":
            return gr.Number(value=value, info=field.bounds or None, **common)
        case "text":
            return gr.Textbox(value=value, lines=3 if field.long else 1, **common)
        case "image":
            return gr.Image(
                type="filepath", sources=["upload", "webcam", "clipboard"], height=260, buttons=[], **common
            )
        case "audio":
            return gr.Audio(type="filepath", sources=["microphone", "upload"], format="wav", buttons=[], **common)
        case "file":
            return gr.File(type="filepath", **common)
    return gr.Code(value=value, language="json", lines=4, max_lines=24, buttons=[], **common)


def _level(choice: Any, say: Say) -> str:
    if isinstance(choice, bool):
        return say("yes" if choice else "no")
    return say(choice)
