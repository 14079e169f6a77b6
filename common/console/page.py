"""The page: a tab to try each system, one for models, one for monitoring. Imports Gradio, so it is imported late."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from common.console.answer import answer_html, note_html, problem_html
from common.console.ask import Ask, Reply
from common.console.charts import monitor_html
from common.console.form import FormField, fields_of, to_form, to_request
from common.console.models import models_html
from common.console.uploads import Uploads
from common.console.views import SLIDE
from common.console.widgets import widget
from common.console.words import LANGUAGES, Say, speaker
from common.errors import EspalierError
from common.serving.schema import Schema, known_fields
from common.serving.slot import Slot

PRIVATE: dict[str, Any] = {"api_visibility": "private", "preprocess": False, "show_progress": "minimal"}
"""Not for Gradio's clients. Values come as the browser sends them: the service judges them, not the component."""
AT_ONCE = 8
MOST_EXAMPLES = 5


def build(title: str, slots: Sequence[Slot], document: Schema, ask: Ask, uploads: Uploads, language: str) -> gr.Blocks:
    """The page in one language for the models that are live now."""
    say = speaker(language)
    sayers = {slot.system.name: speaker(language, slot.kind, _labels(slot)) for slot in slots}
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(600, 3600), fill_width=True) as page:
        gr.HTML(_head(title, language, say))
        for slot in slots:
            own = speaker(language, slot.kind)
            with gr.Tab(own(slot.system.short_name.replace("_", " "))):
                _Try(slot, document, ask, uploads, own, sayers[slot.system.name]).show()
        with gr.Tab(say("Models")) as tab:
            _models(tab, ask, slots, say)
        with gr.Tab(say("Monitoring")) as tab:
            _monitoring(tab, ask, say, sayers)
    page.queue(default_concurrency_limit=AT_ONCE, max_size=64, api_open=False)
    return page


def _labels(slot: Slot) -> dict[str, str]:
    """What fields of the request are called in an answer; not those whose names mean something else there."""
    if slot.status != "ready":
        return {}
    wire = slot.live().wires[0]
    own = known_fields(wire.response.model_json_schema(mode="serialization"))
    return {field.name: field.label for field in fields_of(wire.schema) if field.name not in own}


def _head(title: str, language: str, say: Say) -> str:
    others = "".join(
        f'<a href="../../?lang={short}">{name}</a>' for short, name in LANGUAGES.items() if short != language
    )
    links = f'<nav><a href="../../../docs">{say("API")}</a>{others}</nav>'
    return f'<header class="esp-head"><h1>{escape(title)}</h1>{links}</header>'


def _models(tab: gr.Tab, ask: Ask, slots: Sequence[Slot], say: Say) -> None:
    button, view = gr.Button(say("Refresh"), size="sm", elem_classes="esp-refresh"), gr.HTML(note_html(say("Loading…")))
    cards = []
    for slot in slots:
        with gr.Accordion(f"{say('Model card')}: {slot.system.name}", open=False):
            cards.append(gr.Markdown(elem_classes="esp-card"))

    async def refresh(request: gr.Request) -> list[str]:
        paths = ("/v1/models", "/v1/deployments", *(f"/v1/models/{slot.system.name}" for slot in slots))
        models, deployments, *each = [await ask("GET", path, request.headers) for path in paths]
        return [
            models_html(models, deployments, say),
            *(one.body["card"] if one.fine else one.sentence for one in each),
        ]

    _on_sight(tab, button, refresh, [view, *cards])


def _monitoring(tab: gr.Tab, ask: Ask, say: Say, sayers: dict[str, Say]) -> None:
    button, view = gr.Button(say("Refresh"), size="sm", elem_classes="esp-refresh"), gr.HTML(note_html(say("Loading…")))

    async def refresh(request: gr.Request) -> str:
        reply = await ask("GET", "/v1/monitor?reference=true", request.headers)
        return monitor_html(reply.body, say, sayers) if reply.fine else problem_html(reply, say)

    _on_sight(tab, button, refresh, [view])


def _on_sight(tab: gr.Tab, button: gr.Button, refresh: Any, views: Sequence[Any]) -> None:
    """Ask when the tab is chosen, and when the button is."""
    for event in (tab.select, button.click):
        event(refresh, None, views, **PRIVATE)


class _Try:
    """Form, answer, the system's other questions about the same form, and the label of what came true."""

    def __init__(self, slot: Slot, document: Schema, ask: Ask, uploads: Uploads, say: Say, of_fields: Say) -> None:
        self.slot, self.ask, self.uploads, self.say, self.of_fields = slot, ask, uploads, say, of_fields
        self.document, self.prefix = document, f"/v1/{slot.system.short_name}/"

    def show(self) -> None:
        """Put it on the page."""
        slot, say = self.slot, self.say
        risk = f"{say('risk')}: {say(slot.system.risk)}"
        gr.HTML(f'<p class="esp-about">{escape(say(slot.system.summary))}<br><small>{escape(risk)}</small></p>')
        if slot.status != "ready":
            gr.HTML(note_html(_not_ready(slot, say), "warning"))
            return
        live = slot.live()
        self.version = live.version
        self.fields = fields_of(live.wires[0].schema)
        examples = live.examples[:MOST_EXAMPLES]
        first = to_form(self.fields, examples[0]["request"] if examples else {})
        schema = live.wires[0].response.model_json_schema(mode="serialization")
        # A plan is wide: it stands below the form.
        with gr.Column() if "x-espalier-view" in json.dumps(schema) else gr.Row():
            with gr.Column(scale=3, min_width=340):
                chosen = None
                if len(examples) > 1:
                    names = [(f"{say('Example')} {i + 1}", i) for i in range(len(examples))]
                    chosen = gr.Dropdown(names, value=0, label=say("Start from"), filterable=False)
                with gr.Group(elem_classes="esp-form"):
                    inputs = [widget(field, value, say) for field, value in zip(self.fields, first, strict=True)]
                with gr.Row():
                    button = gr.Button(say("Ask the model"), variant="primary")
                    others = [(path, self._button(text)) for path, text in self._others()]
            with gr.Column(scale=2, min_width=340, elem_classes="esp-side"):
                answer = gr.HTML(note_html(say("The answer appears here.")), js_on_load=SLIDE)
                decision = gr.State("")
                with gr.Row(visible=False) as feedback:
                    label = gr.Textbox(label=say("What came true? (1 or 0, a number, a name)"), scale=3)
                    send = gr.Button(say("Send the label"), scale=1)
                sent = gr.HTML()
        button.click(self._predict(schema), inputs, [answer, decision, feedback, sent], **PRIVATE)
        for path, other in others:
            other.click(self._other(path), inputs, answer, **PRIVATE)
        send.click(self._label, [label, decision], sent, **PRIVATE)
        if chosen is not None:
            shown = [to_form(self.fields, example["request"]) for example in examples]
            chosen.change(lambda i: shown[i] if len(inputs) > 1 else shown[i][0], chosen, inputs, **PRIVATE)

    def _button(self, text: str) -> gr.Button:
        return gr.Button(self.say(text))

    def _others(self) -> list[tuple[str, str]]:
        """Routes of the system that take the same request as `predict`, as OpenAPI marks them, and their names."""
        paths = self.document["paths"]
        own = [path for path in paths if path.startswith(self.prefix)]
        marked = [path for path in own if paths[path].get("post", {}).get("x-espalier-request") == "predict"]
        return [(path, path.removeprefix(self.prefix).replace("-", " ")) for path in marked]

    def _predict(self, schema: Schema) -> Any:
        async def predict(request: gr.Request, *values: Any) -> tuple[Any, ...]:
            reply, picture = await self._send(request, f"{self.prefix}predict", values)
            decision = reply.headers.get("x-decision-id", "")
            shown = answer_html(reply, schema, self.of_fields, picture, self.version)
            return shown, decision, gr.update(visible=bool(decision)), ""

        return predict

    def _other(self, path: str) -> Any:
        answer = self.document["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        schema = {**answer, "$defs": self.document["components"]["schemas"]}
        schema |= schema["$defs"].get(answer.get("$ref", "").rpartition("/")[2], {})

        async def other(request: gr.Request, *values: Any) -> str:
            reply, picture = await self._send(request, path, values)
            return answer_html(reply, schema, self.of_fields, picture, self.version)

        return other

    async def _send(self, request: gr.Request, path: str, values: Sequence[Any]) -> tuple[Reply, str]:
        """The reply, and the first image that was sent, as a data URI."""
        try:
            body = await asyncio.to_thread(to_request, self.fields, values, self.uploads.read)
        except EspalierError as error:
            return Reply(422, {}, {"detail": str(error)}), ""
        return await self.ask("POST", path, request.headers, body), _picture(self.fields, body)

    async def _label(self, request: gr.Request, text: str, decision: str) -> str:
        try:
            label = json.loads(text)
        except ValueError:
            label = text
        body = {"labels": [{"decision": decision, "label": label}]}
        reply = await self.ask("POST", "/v1/feedback", request.headers, body)
        return note_html(self.say("The label is kept.")) if reply.fine else problem_html(reply, self.of_fields)


def _not_ready(slot: Slot, say: Say) -> str:
    """Why there is no form, and what to do."""
    match slot.status:
        case "untrained":
            command = f"`espalier train {slot.system.name}`"
            return say("No model is trained yet. On the server, run {} and restart.").format(command)
        case "loading":
            return say("The model is loading; reload the page in a moment.")
    return say("The model cannot be served: {}").format(slot.reason)


def _picture(fields: Sequence[FormField], body: dict[str, Any]) -> str:
    sent = next((field for field in fields if field.kind == "image" and body.get(field.name)), None)
    media = sent.media if sent and "*" not in sent.media else "image/png"
    return f"data:{media};base64,{body[sent.name]}" if sent else ""
