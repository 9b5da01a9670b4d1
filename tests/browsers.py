"""A headless Chromium (of the system, or as the environment variable CHROMIUM names it)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    # WebGL without a graphics card.
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
# Plotly reads back a canvas of its own, at which Chromium grumbles.
KNOWN = ("Canvas2D: Multiple readback operations", "GPU stall due to ReadPixels")

Opened = Callable[..., Any]


@contextmanager
def chromium() -> Iterator[Any]:
    """Start the browser; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield opened
        opened.close()


@contextmanager
def pages(browser: Any, allowed: str = "file:") -> Iterator[Opened]:
    """Open pages; at the end nothing was complained of and nothing asked for elsewhere.

    Args:
        browser: as `chromium` starts it.
        allowed: how addresses begin that may be asked for.
    """
    complaints: list[str] = []
    contexts = []

    def open_(uri: str, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1000, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()

        def refuse(route: Any) -> None:
            if route.request.url.startswith(allowed):
                route.continue_()
            else:
                complaints.append(f"asked for {route.request.url}")
                route.abort()

        def hear(message: Any) -> None:
            grave = message.type in ("error", "warning")
            if grave and not any(words in message.text for words in KNOWN):
                complaints.append(message.text)

        page.route("**/*", refuse)
        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(uri)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []
