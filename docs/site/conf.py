"""Settings of Sphinx, which makes a site of the pages: ``.ci/site``. Everything that it needs is on this machine.

The pages stay plain Markdown with relative links, so that they read as well on a Git host. The source folder is
the repository, because pages link to files outside of ``docs/``.
"""

from __future__ import annotations

from sphinx.application import Sphinx

project = "Retable"
extensions = ["myst_parser"]
root_doc = "README"

CONTENTS = {
    "Begin": ["docs/start", "docs/README"],
    "Your images": [
        "docs/data/layouts",
        "docs/data/reading",
        "docs/data/several-labels",
        "docs/data/train-test-shift",
        "docs/data/suspicious-labels",
        "docs/data/label-corrections",
    ],
    "Search": [
        "docs/study-files",
        "docs/pretraining",
        "docs/pseudo-labels",
        "docs/self-distillation",
        "docs/two-stage",
        "docs/running",
        "docs/watching",
        "docs/how-good-is-it",
    ],
    "Results": ["docs/exports", "docs/kaggle-notebook"],
    "Many machines": ["docs/team", "docs/reference/scale"],
    "Look up": ["docs/reference/fields", "docs/reference/commands", "docs/json", "CHANGELOG"],
    "How it works": [
        "ARCHITECTURE",
        "CONTRIBUTING",
        "docs/reference/benchmarks",
        "Every benchmark </benchmarks/README>",
    ],
}
"""The pages in the order of the navigation. The build fails for a page that is missing here.

A title stands before a page whose own title occurs twice.
"""

_AT_THE_TOP = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md")
include_patterns = [*_AT_THE_TOP, "docs/**.md", "benchmarks/README.md"]
# Folders that are not walked through: what a checkout may hold beside the pages.
exclude_patterns = [".*", "build", "dist", "retable", "search", "storage", "studies", "tests", "trainer", "**/.*"]

source_suffix = {".md": "markdown"}
myst_heading_anchors = 4
myst_links_external_new_tab = False
smartquotes = False  # `--data` in a table stays two hyphens
highlight_language = "bash"

html_theme = "furo"
html_title = "Retable"
html_copy_source = False
html_use_index = False
html_show_sphinx = False
html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["pages.css"]
templates_path = ["templates"]
html_additional_pages = {"index": "index.html"}
html_theme_options = {"navigation_with_keys": False, "top_of_page_buttons": []}


def add_contents(app: Sphinx, docname: str, source: list[str]) -> None:
    """Append the navigation to the first page. A Git host would show it as text, so the file does not hold it."""
    if docname == root_doc:
        for caption, pages in CONTENTS.items():
            listed = "\n".join(page if "<" in page else f"/{page}" for page in pages)
            source[0] += f"\n\n```{{toctree}}\n:caption: {caption}\n:hidden:\n\n{listed}\n```\n"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_contents)
