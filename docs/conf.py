"""How Sphinx builds the site; the source folder is the repository, so that its links hold."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "docs" / "_ext"))
sys.path.insert(0, str(REPOSITORY / "src"))

from pygments.lexers.shell import BashLexer  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402

from alchemlip import __version__  # noqa: E402

project = "alchemlip"
author = "The alchemlip team"
release = version = __version__
copyright = ""
html_show_copyright = False
html_show_sphinx = False

root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "benchmarks/*.md",
    "benchmarks/data/README.md",
    "examples/mixing/README.md",
]
exclude_patterns = ["docs/_build", ".*", "**/.*", "build", "dist", "demo", "src", "tests"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "command_reference",
    "docstrings",
    "navigation",
    "front_door",
    "mathml",
    "settings_fields",
]

myst_enable_extensions = ["colon_fence", "dollarmath", "substitution"]
myst_heading_anchors = 3
myst_links_external_new_tab = False


def committed_results() -> dict[str, Any]:
    """Return every ``benchmarks/results/*.json`` by name, for figures in the text."""
    files = sorted((REPOSITORY / "benchmarks" / "results").glob("*.json"))
    return {
        file.stem.replace("-", "_"): json.loads(file.read_text(encoding="utf-8")) for file in files
    }


# {{ "%.2f" | format(results.vacancy.static.static_formation_energy_eV) }} in a page
myst_substitutions = {"results": committed_results()}

default_role = "py:obj"
autodoc_default_options = {"exclude-members": "model_config"}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # the signature has them
autodoc_type_aliases = {name: name for name in ("FloatArray", "IntArray", "BoolArray", "Selection")}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
copybutton_exclude = ".linenos, .gp, .go"

html_math_renderer = "mathml"
html_theme = "furo"
html_title = "alchemlip"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
suppress_warnings = [
    "ref.python",  # `dtype` of one class is not that of another
    "config.cache",  # the committed results are plain dictionaries and pickle well enough
]


def setup(app: Sphinx) -> None:
    """Show commands as a shell's: our console blocks have no prompt."""
    app.add_lexer("console", BashLexer)
