"""``index.html`` at the top of the built site, which leads to the front page."""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>alchemlip</title>
<meta http-equiv="refresh" content="0; url={target}"></head>
<body><a href="{target}">alchemlip</a></body>
</html>
"""


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write the page when a build has ended well."""
    if exception is None and app.builder.format == "html":
        target = app.builder.get_target_uri(app.config.root_doc)
        Path(app.outdir, "index.html").write_text(PAGE.format(target=target), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to the end of a build."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
