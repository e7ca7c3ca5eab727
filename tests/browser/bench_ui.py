"""How fast pages and clicks are in a real browser: ``make bench-ui``.

Starts the dashboard on an empty workspace, runs the demo, measures while it trains, stops it and
measures again. Browser, server and training share this machine, as they do for one analyst.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from tests.browser.serving import launch_chromium, served

PAGES = ("", "datasets", "training", "policy", "comparison")
CURVE, LOG = "[aria-label*=' epochs; last: ']", ".st-key-live_log_lines"
FIRST_EPOCH_MS = 300_000

# From the pointer going down to the first frame that shows the sign (a selector), in milliseconds:
# a click through Playwright takes longer than the answer to it.
TIME_NEXT_CLICK = """sign => {
    window.clickAnswered = 0
    document.addEventListener("pointerdown", () => {
        const start = performance.now()
        const look = () => {
            if (document.querySelector(sign)) window.clickAnswered = performance.now() - start
            else requestAnimationFrame(look)
        }
        requestAnimationFrame(look)
    }, {capture: true, once: true})
}"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench-ui", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--visits", type=int, default=5, help="visits of each page")
    parser.add_argument("--clicks", type=int, default=30)
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        context = browser.new_context(viewport={"width": 1440, "height": 1000})
        with served(Path(folder) / "workspace", Path(folder) / "server.log") as address:
            figures = measure(address, context.new_page(), args.visits, args.clicks)
        browser.close()
    if args.json:
        sys.stdout.write(json.dumps(figures, indent=1) + "\n")
        return
    for name, values in figures.items():
        shown = "  ".join(f"{key} {value:5.0f}" for key, value in values.items())
        sys.stdout.write(f"{name:41} {shown}\n")


def measure(address: str, page: Page, visits: int, clicks: int) -> dict[str, dict[str, float]]:
    """Name of what was measured -> median, 95th percentile and most, in milliseconds."""
    page.goto(address)
    page.get_by_role("button", name="Run the demo end to end").click()
    page.locator(CURVE).first.wait_for(timeout=FIRST_EPOCH_MS)
    figures = {
        **paints(address, page, visits, "while training"),
        "click, while training": spread(view_changes(f"{address}/training", page, clicks)),
    }
    # In the page itself: for as long as a page is being made, the header has a "Stop" too.
    stop = page.get_by_test_id("stMainBlockContainer").get_by_role("button", name="Stop")
    stop.click()
    stop.wait_for(state="hidden", timeout=FIRST_EPOCH_MS)
    page.get_by_role("progressbar").wait_for(state="hidden", timeout=FIRST_EPOCH_MS)
    return {
        **figures,
        **paints(address, page, visits, "idle"),
        "click, idle": spread(view_changes(f"{address}/training", page, clicks)),
    }


def paints(address: str, page: Page, visits: int, state: str) -> dict[str, dict[str, float]]:
    """From asking for a page, as a reload does, until its title is there."""
    taken: dict[str, list[float]] = {name: [] for name in PAGES}
    for _ in range(visits):
        for name, values in taken.items():
            start = time.monotonic()
            page.goto(f"{address}/{name}")
            page.locator("h1").wait_for()
            values.append(1000 * (time.monotonic() - start))
    return {f"first paint of /{name}, {state}": spread(v) for name, v in taken.items()}


def view_changes(address: str, page: Page, clicks: int) -> list[float]:
    """Milliseconds from pressing a view of a run, curves and log in turn, until it is shown."""
    page.goto(address)
    page.locator(CURVE).first.wait_for()
    taken = []
    for i in range(clicks):
        view, sign = (("Log", LOG), ("Detectors", CURVE))[i % 2]
        page.wait_for_timeout(700)  # Not in step with the page's own timer of a second.
        page.evaluate(TIME_NEXT_CLICK, sign)
        page.get_by_role("radio", name=view).click()
        page.wait_for_function("window.clickAnswered")
        taken.append(float(page.evaluate("window.clickAnswered")))
    return taken


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile and most."""
    return {
        "median_ms": statistics.median(values),
        "p95_ms": float(np.percentile(values, 95)),
        "max_ms": max(values),
    }


if __name__ == "__main__":
    main()
