"""The built documentation in a browser; `make docs` builds it and runs this."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from browsers import Opened, chromium, pages

SITE = Path(__file__).parent.parent / "docs" / "_build" / "html"
if not (SITE / "index.html").exists():
    pytest.skip("the site is not built: make docs", allow_module_level=True)
PAGES = (
    "docs/index.html",
    "docs/theory.html",
    "docs/tutorials/solid_solutions.html",
    "docs/howto/new_backend.html",
    "docs/api/mixture.html",
    "docs/commands.html",
    "benchmarks/disorder.html",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Serve the site on this machine: scripts may not read pages next to them from files."""
    handler = partial(Quiet, directory=SITE)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Opened]:
    """Open a page of the site."""
    with pages(browser, address) as open_:
        yield lambda name, **options: open_(address + name, **options)


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_whole_and_fit_a_phone(opened: Opened, name: str) -> None:
    page = opened(name, viewport={"width": 360, "height": 740})
    assert page.locator("h1").count() == 1
    broken = page.evaluate(
        """async () => {
          const images = [...document.images];
          images.forEach((image) => { image.loading = "eager"; });
          await Promise.allSettled(images.map((image) => image.decode()));
          return images.filter((image) => image.naturalWidth === 0).map((image) => image.src);
        }"""
    )
    assert broken == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_top_leads_to_the_front_page(opened: Opened) -> None:
    page = opened("index.html")
    page.wait_for_url("**/docs/index.html")
    picture = page.locator("article img").first
    assert picture.get_attribute("alt")


def test_equations_need_no_script(opened: Opened) -> None:
    page = opened("docs/theory.html", java_script_enabled=False)
    assert page.locator("math").count() > 10


def test_search_finds_the_vacancies(opened: Opened) -> None:
    page = opened("search.html?q=vacancies")
    page.wait_for_selector("#search-results li a", timeout=60_000)
    assert "acanc" in page.locator("#search-results").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault_on_the_front_page(opened: Opened, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    page = opened("docs/index.html", color_scheme=scheme)
    found = axe.Axe().run(page).response["violations"]
    serious = [item["id"] for item in found if item["impact"] in ("serious", "critical")]
    assert serious == []
