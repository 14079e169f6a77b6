"""Sphinx settings: MyST Markdown, furo, warnings are errors (`make docs`)."""

from common import __version__

project = "Espalier"
author = "The Espalier authors"
project_copyright = "The Espalier authors, Apache 2.0"
version = release = __version__
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Espalier {version}"
# Headings down to the third level can be linked to as #their-words, as on a repository's host.
myst_heading_anchors = 3
nitpicky = True
