"""Gradio's app for a page, set up to keep to itself: no footer, no history, no server-side rendering, system fonts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

FONTS = ("system-ui", "-apple-system", "Segoe UI", "Noto Sans", "Noto Sans CJK SC", "Microsoft YaHei", "sans-serif")
MONO = ("ui-monospace", "Menlo", "Consolas", "monospace")


def gradio_app(blocks: gr.Blocks, most_bytes: int) -> Any:
    """The ASGI app of `blocks`; uploads are at most `most_bytes`."""
    theme = gr.themes.Base(font=FONTS, font_mono=MONO, primary_hue="blue", neutral_hue="slate")
    holder = gr.mount_gradio_app(
        FastAPI(),
        blocks,
        path="/console",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        pwa=False,
        show_error=False,
        max_file_size=most_bytes,
        theme=theme,
        css_paths=[Path(__file__).with_name("console.css")],
    )
    blocks.custom_mount_path = ""
    return holder.routes[-1].app
