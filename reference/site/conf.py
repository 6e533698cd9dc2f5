"""Sphinx's settings for the site."""

from pathlib import Path

project = "Learn asynchronous messaging with RabbitMQ"
author = "The authors of rabbitmq-lab"
copyright = "code MIT, text of the notebooks CC BY 4.0"
extensions = ["myst_nb", "sphinxcontrib.mermaid"]

html_theme = "sphinx_book_theme"
html_title = project
html_theme_options = {"home_page_in_toc": True, "navbar_persistent": []}
html_static_path = ["_static"]
html_css_files = ["site.css"]

nb_execution_mode = "off"  # the stored outputs are those of a real run
nb_render_markdown_format = "myst"
myst_fence_as_directive = {"mermaid"}
myst_heading_anchors = 3
suppress_warnings = [
    "mystnb.unknown_mime_type",
    "misc.highlighting_failure",  # SQL with an ellipsis, say
]

mermaid_dark_theme = "default"  # the theme turns its colours round by itself
mermaid_height = "auto"
mermaid_fullscreen = False
if Path(__file__).with_name("_static").joinpath("mermaid").exists():
    mermaid_use_local = "mermaid/mermaid.esm.min.mjs"
