"""Reports in a browser: they draw, turn, follow the colour scheme, and ask the network for nothing.

Needs a Chromium and playwright.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alchemlip.reporting import write_report
from browsers import Opened, chromium, pages
from report_runs import switching_run

PATIENCE_MS = 120_000
CAMERA = "() => document.getElementById('plot-structure')._fullLayout.scene.camera.eye"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished transmutation with a hostile name and vacancies."""
    folder = tmp_path_factory.mktemp("reports") / "run"
    switching_run(folder, repeats=14, group="<b>cations</b>", structure_file="<i>salt<i>.cif")
    return write_report(folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[Opened]:
    """Open the report."""
    with pages(browser) as open_:

        def drawn(**options: Any) -> Any:
            page = open_(report.as_uri(), **options)
            page.wait_for_selector("html[data-ready]", timeout=PATIENCE_MS)
            return page

        yield drawn


def test_every_plot_is_drawn_and_tells_its_numbers(opened: Opened) -> None:
    page = opened()
    drawn = page.locator(".plot[data-drawn]").count()
    assert drawn == page.locator(".plot").count() == 4
    page.locator("#plot-running-0").scroll_into_view_if_needed()
    x, y = page.evaluate(
        """() => {
          const plot = document.getElementById("plot-running-0");
          const box = plot.querySelector(".nsewdrag").getBoundingClientRect();
          const { xaxis, yaxis } = plot._fullLayout;
          const at = 5;
          return [box.x + xaxis.d2p(plot.data[0].x[at]), box.y + yaxis.d2p(plot.data[0].y[at])];
        }"""
    )
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    page.wait_for_selector("#plot-running-0 .hoverlayer .hovertext", timeout=20_000)


def test_the_crystal_turns_by_mouse_and_by_keys(opened: Opened) -> None:
    page = opened()
    plot = page.locator("#plot-structure")
    plot.scroll_into_view_if_needed()
    first = page.evaluate(CAMERA)
    box = plot.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 90, y + 20, steps=6)
    page.mouse.up()
    page.wait_for_function(
        "(first) => Math.abs(document.getElementById('plot-structure')._fullLayout.scene.camera"
        ".eye.x - first.x) > 0.05",
        arg=first,
        timeout=PATIENCE_MS,
    )
    page.get_by_role("button", name="Along c").focus()
    page.keyboard.press("Enter")
    page.wait_for_function(
        "() => { const eye = document.getElementById('plot-structure')._fullLayout.scene.camera"
        ".eye; return Math.abs(eye.x) < 1e-6 && eye.z > 1; }",
        timeout=PATIENCE_MS,
    )


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_never_scrolls_sideways(opened: Opened, width: int) -> None:
    page = opened(viewport={"width": width, "height": 740})
    page.evaluate("() => document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    widest = page.evaluate("() => document.documentElement.scrollWidth")
    assert widest <= width


def test_plots_follow_the_colour_scheme(opened: Opened) -> None:
    """Also when it changes while the page is open."""
    page = opened(color_scheme="light")
    text = "() => document.getElementById('plot-slopes-0')._fullLayout.font.color"
    paper = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(text), page.evaluate(paper)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "(old) => document.getElementById('plot-slopes-0')._fullLayout.font.color !== old",
        arg=light[0],
        timeout=PATIENCE_MS,
    )
    dark = page.evaluate(text), page.evaluate(paper)
    assert sum(channels(light[1])) > 600
    assert sum(channels(dark[1])) < 200
    assert sum(channels(hexed(dark[0]))) > 600 > sum(channels(hexed(light[0])))


def channels(colour: str) -> list[int]:
    return [int(part) for part in colour.split("(")[1].rstrip(")").split(",")[:3]]


def hexed(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(opened: Opened, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    # The page's own policy lets no foreign script in, so the checker is put in past it.
    page = opened(color_scheme=scheme, bypass_csp=True)
    page.evaluate("() => document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    found = axe.Axe().run(page).response["violations"]
    assert [(item["id"], item["impact"]) for item in found] == []


def test_the_keyboard_reaches_the_results_first(opened: Opened) -> None:
    page = opened()
    page.keyboard.press("Tab")
    focused = page.evaluate("() => document.activeElement.textContent")
    assert focused == "Skip to the results"
    left = page.evaluate("() => document.activeElement.getBoundingClientRect().left")
    assert left >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "results"


def test_names_run_nothing(opened: Opened) -> None:
    page = opened()
    assert page.locator("h1 i, dd b, td b").count() == 0
    assert "<i>salt<i>" in page.locator("h1").inner_text()


def test_without_webgl_the_numbers_stay(opened: Opened) -> None:
    page = opened()
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null;")
    page.reload()
    page.wait_for_selector("#flat-structure:not([hidden])", timeout=PATIENCE_MS)
    assert page.locator("#plot-structure").is_hidden()
