"""How the documentation is built: `make docs`, or `sphinx-build -W -n docs docs/_build/html`."""

from __future__ import annotations

import re
from typing import Any

import holdfast

project = "Holdfast"
author = copyright = "The Holdfast authors"
version = release = holdfast.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "deflist", "attrs_block"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "Holdfast"
html_static_path = ["_static"]
html_css_files = ["holdfast.css"]
html_show_sourcelink = False
html_copy_source = False
pygments_dark_style = "github-dark"
copybutton_exclude = ".linenos, .gp, .go"

# --- the reference ------------------------------------------------------------------------------------------

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True
maximum_signature_line_length = 96
autoclass_content = "both"
autodoc_type_aliases = {name: name for name in ("Arg", "Duration", "Key", "Reply", "Retry")}
toc_object_entries_show_parents = "hide"

# Annotations name types of the standard library, whose documentation is not at hand, and private ones.
nitpick_ignore_regex = [(r"py:.*", r"(?!holdfast\.[A-Z]).*")]

_ALIAS = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")
_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def docstring_as_rst(*told: Any) -> None:
    """Our docstrings are plain text: `code` in single ticks, examples and tables indented."""
    lines: list[str] = told[-1]
    text: list[str] = []
    literal = False
    for line in lines:
        indented = line.startswith("    ")
        if indented and not literal and text and not text[-1].strip():
            text += ["::", ""]
            literal = True
        elif line.strip() and not indented:
            if literal:
                text.append("")
            literal = False
        text.append(line if literal else _CODE.sub(r"``\1``", line).replace("*", r"\*"))
    lines[:] = text


def short_aliases(*told: Any) -> tuple[str | None, str | None]:
    """`Duration | None`, where Sphinx would show how it remembers the alias."""
    *_, arguments, result = told
    return tuple(part and _ALIAS.sub(r"\1", part) for part in (arguments, result))  # type: ignore[return-value]


def setup(app: Any) -> None:
    """Register what is above."""
    app.connect("autodoc-process-signature", short_aliases)
    app.connect("autodoc-process-docstring", docstring_as_rst)
