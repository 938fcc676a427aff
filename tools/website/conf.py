"""Configure Sphinx, which `tools.website.build` runs."""

from __future__ import annotations

import re
from html import escape, unescape
from textwrap import shorten
from typing import Any

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode, depart_HideCellInput, visit_HideCellInput
from sphinx.addnodes import desc_parameterlist
from sphinx.writers.html5 import HTML5Translator

import kdcourse
from tools.lessons.links import home
from tools.website.card import CARD
from tools.website.formulas import FORMULAS

project = "kdcourse"
author = "The kdcourse authors"
copyright = "The kdcourse authors, MIT licence"
version = release = kdcourse.__version__
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

# Lessons: show the stored outputs, run nothing.
nb_execution_mode = "off"
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
nb_ipywidgets_js: dict[
    str, dict[str, str]
] = {}  # widgets are shown as figures; their scripts would come from another server
myst_enable_extensions = ["amsmath", "attrs_block", "colon_fence", "dollarmath"]
myst_heading_anchors = 3

# The package. Docstrings name each other in single backticks.
default_role = "py:obj"
autosummary_generate = False
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 78  # longer signatures have one line per argument
toc_object_entries = False
napoleon_numpy_docstring = False

# Formulas stay LaTeX here; `tools.website.drawn` draws them and leaves out this script.
mathjax_path = "assets/mathjax/startup.js"

html_theme = "sphinx_book_theme"
html_title = "kdcourse"
html_baseurl = home().website
templates_path = ["templates"]
html_sidebars = {"**": ["course-home.html", "search-button-field.html", "sbt-sidebar-nav.html"]}
html_static_path = ["static"]
html_css_files = ["course.css", "parts/front.css"]
html_js_files = ["course.js"]
html_favicon = "static/mark.svg"
html_show_sphinx = False
html_copy_source = True
html_sourcelink_suffix = ""
html_context = {"default_mode": "auto"}
html_theme_options = {
    "repository_url": home().repository,
    "repository_branch": home().tag,  # what the launch buttons open
    "path_to_docs": "",
    "use_repository_button": True,
    "use_issues_button": True,
    "use_download_button": True,
    "use_fullscreen_button": False,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "launch_buttons": {
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
        "notebook_interface": "jupyterlab",
    },
    "navbar_persistent": [],
    "footer_content_items": ["course-footer.html"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
_COURSE = "A course in knowledge distillation that runs on any laptop, and the Python package under it."

# The copy button copies input, not output.
copybutton_selector = ".cell_input pre, div.highlight-bash pre, div.highlight-python pre"


def _keep_bars(app: Any, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Escape bars: |x| is an absolute value, which reStructuredText would read as a substitution."""
    for place, line in enumerate(lines):
        parts = re.split(r"(``.*?``)", line)
        lines[place] = "".join(
            part if index % 2 else part.replace("|", r"\|") for index, part in enumerate(parts)
        )


def _add_formula(app: Any, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Insert the formula below a docstring's first paragraph."""
    formula = FORMULAS.get(name)
    if formula is not None:
        end = lines.index("") if "" in lines else len(lines)
        lines[end:end] = ["", ".. math::", "", f"   {formula}", ""]


def _drop_empty_heads(app: Any, document: Any) -> None:
    """Remove empty heads of tables, which Markdown requires and screen readers would announce."""
    for head in list(document.findall(nodes.thead)):
        if not head.astext().strip():
            head.parent.remove(head)


def _point(app: Any, document: Any) -> None:
    """Replace -> by an arrow sign, which no line break can split."""
    if app.env.docname.startswith("api/"):
        for text in list(document.findall(nodes.Text)):
            if "->" in text and not isinstance(text.parent, nodes.literal | nodes.literal_block):
                text.parent.replace(text, nodes.Text(text.replace("->", "→")))


def _leave_out(app: Any, what: str, name: str, thing: Any, skip: bool, options: object) -> bool | None:
    """Leave out a `forward` without a docstring, which would show torch's."""
    return True if name == "forward" and thing.__doc__ is None else None


def _visit_hidden(translator: Any, node: Any) -> None:
    """Give a folded cell's button its visible text as its name for screen readers."""
    before = len(translator.body)
    visit_HideCellInput(translator, node)
    translator.body[before:] = [
        text.replace(' aria-label="Toggle hidden content"', "") for text in translator.body[before:]
    ]


def _visit_arguments(translator: Any, node: Any) -> None:
    node["begins"] = len(translator.body)
    HTML5Translator.visit_desc_parameterlist(translator, node)


def _depart_arguments(translator: Any, node: Any) -> None:
    """Write a signature's arguments, one per line, without Sphinx's description list, which would be empty."""
    HTML5Translator.depart_desc_parameterlist(translator, node)
    translator.body[node["begins"] :] = [
        re.sub(r"<(/?)d[ld]\b", r"<\1div", text) for text in translator.body[node["begins"] :]
    ]


def _introduce(app: Any, page: str, template: str, context: dict[str, Any], document: Any) -> None:
    """Add a page's first paragraph and the course's image for search engines and messengers."""
    paragraph = next(iter(document.findall(nodes.paragraph)), None) if document is not None else None
    words = " ".join(paragraph.astext().split()) if paragraph is not None else _COURSE
    told = {
        "og:type": "website",
        "og:site_name": project,
        "og:title": re.sub(r"<[^>]+>", "", context.get("title") or project),
        "og:description": shorten(words, 200, placeholder=" ..."),
        "og:url": f"{html_baseurl}{page}.html",
        "og:image": f"{html_baseurl}{CARD}",
        "og:image:alt": _COURSE,
    }
    tags = [f'<meta name="description" content="{escape(told["og:description"])}">']
    tags += [f'<meta property="{name}" content="{escape(unescape(text))}">' for name, text in told.items()]
    tags += ['<meta name="twitter:card" content="summary_large_image">']
    context["metatags"] = "\n".join([context.get("metatags", ""), *tags])


def _launch_what_learners_open(
    app: Any, page: str, template: str, context: dict[str, Any], document: Any
) -> None:
    """Let the theme's buttons launch a lesson without stored results, in place of the notebook of the page's name."""
    name = page.removeprefix("notebooks/")
    addresses = {"Colab": home().colab(name), "Binder": home().binder(name)}
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if button.get("text") in addresses:
                button["url"] = addresses[button["text"]]


def setup(app: Any) -> None:
    """Connect the functions above; Sphinx calls this after loading the extensions."""
    app.add_node(HideCodeCellNode, override=True, html=(_visit_hidden, depart_HideCellInput))
    app.add_node(desc_parameterlist, override=True, html=(_visit_arguments, _depart_arguments))
    app.connect("doctree-read", _drop_empty_heads)
    app.connect("doctree-read", _point)
    app.connect("autodoc-skip-member", _leave_out)
    app.connect("html-page-context", _introduce)
    app.connect(
        "html-page-context", _launch_what_learners_open, priority=502
    )  # the theme adds its buttons at 501
    app.connect("autodoc-process-docstring", _keep_bars)
    app.connect("autodoc-process-docstring", _add_formula)
