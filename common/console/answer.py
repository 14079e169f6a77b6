"""An answer as HTML, by the words of its JSON Schema: decision first, then pictures, plans, probabilities, tables.

Everything that is not ours is escaped; the page may therefore show any text that a model gives back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from common.console.ask import Reply
from common.console.views import gantt, meters, overlay
from common.console.words import Say
from common.serving.schema import Schema, find_field

SHOWN_HEADERS = ("x-decision-id", "x-model-version", "x-request-id")
MOST_ROWS = 200
MOST_JSON = 20_000
LONG = 120
OTHER_MODEL = (
    "Another model answered than the one this form was made for: a challenger, or a newer one; then reload the page."
)


def named(name: str, say: Say) -> str:
    """A field's name for a person."""
    return escape(say(name.replace("_", " ")))


def answer_html(reply: Reply, schema: Schema, say: Say, picture: str = "", version: str = "") -> str:
    """The answer, or the sentence of a refusal.

    `picture` is the image that was sent, as a data URI; `version` the model that the form was made for.
    """
    if not reply.fine:
        return problem_html(reply, say)
    body = reply.body if isinstance(reply.body, dict) else {"answer": reply.body}
    parts = [_warnings(reply, body, say, version), _headline(body, schema, say)]
    rest: dict[str, Any] = {}
    for name, value in body.items():
        part = find_field(schema, (name,))
        if name == "simulated" or name == _decision(body, schema):
            continue
        parts.append(_seen(name, value, part, say, picture) or "")
        if not parts[-1]:
            rest[name] = value
    parts += [
        _facts(rest, say),
        *(_block(name, value, say) for name, value in rest.items()),
        _details(reply, body, say),
    ]
    return f'<div class="esp-answer">{"".join(parts)}</div>'


def problem_html(reply: Reply, say: Say) -> str:
    """A refusal as its sentence and, for wrong fields, one line each."""
    errors = reply.body.get("errors", []) if isinstance(reply.body, dict) else []
    head = "".join(f"<th>{escape(say(word))}</th>" for word in ("field", "got", "expected"))
    rows = "".join(
        f"<tr><td>{named(error['field'], say)}</td><td>{escape(error['got'])}</td>"
        f"<td>{escape(error['expected'])} {escape(error.get('fix', ''))}</td></tr>"
        for error in errors
    )
    table = f'<div class="esp-wide"><table><tr>{head}</tr>{rows}</table></div>' if errors else ""
    title = escape(say("Not answered"))
    return f'<div class="esp-problem" role="alert"><b>{title}</b><p>{escape(reply.sentence)}</p>{table}</div>'


def note_html(text: str, kind: str = "note") -> str:
    """One sentence, as `note` or `warning`."""
    return f'<div class="esp-{kind}">{escape(text)}</div>'


def _warnings(reply: Reply, body: Mapping[str, Any], say: Say, version: str) -> str:
    found = []
    if body.get("simulated") or reply.headers.get("x-espalier-simulated"):
        found.append("Trained on simulated data: not for real decisions.")
    if version and reply.headers.get("x-model-version", version) != version:
        found.append(OTHER_MODEL)
    return "".join(note_html(say(text), "warning") for text in found)


def _decision(body: Mapping[str, Any], schema: Schema) -> str:
    """The field that is the decision: the first choice of few or yes/no, else the first value that is no list."""
    for name in body:
        part = find_field(schema, (name,))
        if name != "simulated" and ("enum" in part or part.get("type") == "boolean"):
            return name
    single = (
        n
        for n, v in body.items()
        if isinstance(v, int | float | str) and not find_field(schema, (n,)).get("contentEncoding")
    )
    return next(single, "")


def _headline(body: Mapping[str, Any], schema: Schema, say: Say) -> str:
    name = _decision(body, schema)
    if not name or len(str(body[name])) > LONG:
        return f"<p>{escape(str(body[name]))}</p>" if name else ""
    return f'<div class="esp-decision"><span>{named(name, say)}</span><b>{_value(body[name], say)}</b></div>'


def _seen(name: str, value: Any, part: Schema, say: Say, picture: str) -> str:
    """A picture, sound, plan or probabilities; empty for anything else."""
    media, title = part.get("contentMediaType", ""), named(name, say)
    if media and isinstance(value, str) and part.get("contentEncoding") == "base64":
        # Of ours is only the kind of media: what stands between is base64 or nothing.
        source = f"data:{escape(media)};base64,{escape(value)}"
        if media.startswith("image/"):
            return f"<h4>{title}</h4>{overlay(source, picture, title, escape(say('opacity')))}"
        if media.startswith("audio/"):
            return f'<h4>{title}</h4><audio controls src="{source}"></audio>'
    if part.get("x-espalier-view") == "gantt" and isinstance(value, dict):  # a plan around its list
        value = next((inner for inner in value.values() if isinstance(inner, list)), value)
    if part.get("x-espalier-view") == "gantt" and isinstance(value, list):
        return f"<h4>{title}</h4>{gantt(value)}"
    if shares := _shares(name, value):
        return f"<h4>{title}</h4>{meters({escape(say(key)): share for key, share in shares.items()})}"
    return ""


def _shares(name: str, value: Any) -> dict[str, float]:
    """Probabilities by class, or one; empty when these are none."""
    if name.startswith("probability") and isinstance(value, int | float) and 0 <= value <= 1:
        return {"": float(value)}
    if name.startswith("probabilit") and isinstance(value, dict) and value:
        numbers = {key: share for key, share in value.items() if isinstance(share, int | float) and 0 <= share <= 1}
        return dict(sorted(numbers.items(), key=lambda pair: -pair[1])) if len(numbers) == len(value) else {}
    return {}


def _facts(rest: Mapping[str, Any], say: Say) -> str:
    """What is single and short, as pairs."""
    pairs = [(name, value) for name, value in rest.items() if not isinstance(value, list | dict)]
    rows = "".join(f"<tr><th>{named(name, say)}</th><td>{_value(value, say)}</td></tr>" for name, value in pairs)
    return f'<table class="esp-facts">{rows}</table>' if rows else ""


def _block(name: str, value: Any, say: Say) -> str:
    """A list or an object under its name."""
    if isinstance(value, dict):
        return f"<h4>{named(name, say)}</h4>{_facts(value, say)}"
    if isinstance(value, list):
        return f"<h4>{named(name, say)}</h4>{table_html(value, say)}"
    return ""


def table_html(rows: Sequence[Any], say: Say) -> str:
    """A list as a table; of objects that have a `label`, the `field` it names is left out."""
    if not rows:
        return f"<p>{escape(say('none'))}</p>"
    if not all(isinstance(row, dict) for row in rows):
        return f"<p>{escape(', '.join(say(row) for row in rows[:MOST_ROWS]))}</p>"
    columns = [
        name
        for name in dict.fromkeys(key for row in rows for key in row)
        if not (name == "field" and "label" in rows[0])
    ]
    head = "".join(f"<th>{named(name, say)}</th>" for name in columns)
    lines = "".join(
        f"<tr>{''.join(f'<td>{_value(row.get(n), say)}</td>' for n in columns)}</tr>" for row in rows[:MOST_ROWS]
    )
    return f'<div class="esp-wide"><table><tr>{head}</tr>{lines}</table></div>'


def _value(value: Any, say: Say) -> str:
    match value:
        case bool():
            return escape(say("yes" if value else "no"))
        case float():
            return f"{value:.6g}"
        case None:
            return "–"
        case list() if value and all(isinstance(row, dict) for row in value):
            return table_html(value, say)
        case dict() | list():
            return escape(json.dumps(value, ensure_ascii=False))
    return escape(say(value))


def _details(reply: Reply, body: Any, say: Say) -> str:
    """Headers and raw JSON, folded away; long texts such as pictures are cut."""
    given = {name: reply.headers[name] for name in SHOWN_HEADERS if name in reply.headers}
    headers = "".join(f"<tr><th>{name}</th><td><code>{escape(value)}</code></td></tr>" for name, value in given.items())
    raw = json.dumps(_cut(body), indent=1, ensure_ascii=False)[:MOST_JSON]
    return (
        f'<details><summary>{escape(say("Details"))}</summary><div class="esp-wide"><table class="esp-facts">{headers}'
        f"</table><pre>{escape(raw)}</pre></div></details>"
    )


def _cut(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _cut(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_cut(inner) for inner in value[:MOST_ROWS]]
    return f"{value[:LONG]}… ({len(value):,})" if isinstance(value, str) and len(value) > 4 * LONG else value
