"""The table of README.md, made from results.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.files import write_whole

BEGIN, END = "<!-- serving results -->\n", "<!-- end of serving results -->"

OVERLOAD = (
    "overload: requests of {name}, {asked_per_s:,}/s for a minute | {goodput_per_s:,} answered a second "
    "({goodput_share:.0%} of the capacity before and after, {capacity_before_per_s:,} and {capacity_after_per_s:,}/s; "
    "rounds: {rounds}; p99 {p99_ms:,.0f} ms), {refused_with_retry_after:,} refused with 503 and "
    "`Retry-After`, {sent_and_neither:,} neither, {unsent:,} not sent as all connections waited; memory of the last "
    "third {late_to_early} of the first"
)


def write_table(readme: Path, found: dict[str, Any]) -> None:
    """Put the table between the two marks."""
    text = readme.read_text()
    before, _, rest = text.partition(BEGIN)
    write_whole(readme, before + BEGIN + table(found) + END + rest.partition(END)[2])


def table(found: dict[str, Any]) -> str:
    """Markdown; a part that was not run has no lines."""
    lines = []
    if peers := found.get("peers"):
        lines += ["| server | 1 connection, req/s | p50 ms | p99 ms | 32 connections, req/s | p50 ms | p99 ms |"]
        lines += ["| --- | --: | --: | --: | --: | --: | --: |"]
        for name, by_connections in peers.items():
            cells = [
                f"{one['per_s']:,.0f} | {one['p50_ms']:.2f} | {one['p99_ms']:.2f}"
                for one in (by_connections["1"], by_connections["32"])
            ]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    lines += ["| what | measured |", "| --- | --- |"]
    texts = {
        "rows": "10,000 rows in one request | {tensor_rows_per_s:,} rows/s as tensors, {json_rows_per_s:,} as JSON",
        "sigterm": "SIGTERM under load, 5 times | {failed} failed of {answered:,}",
        "swap": "{swaps} hot swaps under load | {failed} failed of {answered:,}, {mixed_versions} versions mixed",
        "startup": "`espalier serve finance`, start to ready | {ready_s} s, {rss_mb} MB",
        "memory": "memory after {requests:,} requests | {late_mb} MB, {ratio} of that after 10,000",
    }
    lines += [f"| {text.format(**found[part])} |" for part, text in texts.items() if part in found]
    if fuzz := found.get("fuzz"):
        cases, bad = sum(one["cases"] for one in fuzz.values()), sum(one["tracebacks"] for one in fuzz.values())
        wrong = sum(bool(one["failures"]) for one in fuzz.values())
        what = f"Schemathesis, {len(fuzz)} services ({', '.join(fuzz)})"
        lines.append(f"| {what} | {bad} server errors, {wrong} services with a finding, in {cases:,} cases |")
    for name, one in found.get("overload", {}).items():
        rounds = ", ".join(f"{share:.0%}" for share in one["shares"])
        lines.append(f"| {OVERLOAD.format(name=name, rounds=rounds, **one)} |")
    return "\n".join(lines) + "\n"
