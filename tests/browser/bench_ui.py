"""How fast pages and clicks are in a real browser: ``make bench-ui``.

Starts the dashboard on a workspace with 200 runs, one of a million windows, and a prediction cache
of as many; runs the demo, measures while it trains, stops it and measures again. Browser, server
and training share this machine, as they do for one analyst.
"""

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from core.jobs.events import read_events
from core.workspace import Workspace
from tests.browser.crowded import RUNS, WINDOWS, crowd
from tests.browser.serving import launch_chromium, served, server_of

CURVE, LOG = "[aria-label*=' epochs; last: ']", ".st-key-live_log_lines"
FIRST_EPOCH_MS = 600_000
VISITS_OF_MEMORY = 100
"""Page visits between two looks at the server's memory, unless told otherwise."""

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

# The same until the confusion matrices tell other numbers.
TIME_NEXT_MOVE = """() => {
    window.moveAnswered = 0
    const told = () => [...document.querySelectorAll(".bartext")].map(e => e.textContent).join()
    const before = told()
    document.addEventListener("mousedown", () => {
        const start = performance.now()
        const look = () => {
            if (told() !== before) window.moveAnswered = performance.now() - start
            else requestAnimationFrame(look)
        }
        requestAnimationFrame(look)
    }, {capture: true, once: true})
}"""

Figures = dict[str, dict[str, float]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench-ui", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--visits", type=int, default=5, help="visits of each page")
    parser.add_argument("--clicks", type=int, default=30)
    parser.add_argument("--runs", type=int, default=RUNS, help="runs in the list")
    parser.add_argument("--windows", type=int, default=WINDOWS, help="windows in run and cache")
    parser.add_argument("--sessions", type=int, default=20, help="browser sessions at once")
    parser.add_argument("--memory-visits", type=int, default=VISITS_OF_MEMORY)
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        workspace = Workspace(Path(folder) / "workspace")
        large = crowd(workspace, args.runs, args.windows)
        browser = launch_chromium(playwright)
        with served(workspace.root, Path(folder) / "server.log") as address:
            page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
            figures = measure(address, page, workspace, large, args.visits, args.clicks)
            figures |= sessions(browser, address, large, args.sessions)
            figures |= memory(address, page, large, args.memory_visits)
        browser.close()
    if args.json:
        sys.stdout.write(json.dumps(figures, indent=1) + "\n")
        return
    for name, values in figures.items():
        shown = "  ".join(f"{key} {value:7.1f}" for key, value in values.items())
        sys.stdout.write(f"{name:41} {shown}\n")


def measure(
    address: str, page: Page, workspace: Workspace, large: str, visits: int, clicks: int
) -> Figures:
    """Name of what was measured -> median, 95th percentile and most, in milliseconds."""
    page.set_default_timeout(FIRST_EPOCH_MS)
    page.goto(address)
    page.get_by_role("button", name="Run the demo end to end").click()
    page.wait_for_url(re.compile(r"run="))
    training = page.url
    page.locator(CURVE).first.wait_for()
    figures = {
        "live curve behind its run": spread(curve_lags(page, workspace, training)),
        **paints(address, page, large, visits, "while training"),
        "click, while training": spread(view_changes(training, page, clicks)),
    }
    # In the page itself: for as long as a page is being made, the header has a "Stop" too.
    stop = page.get_by_test_id("stMainBlockContainer").get_by_role("button", name="Stop").first
    stop.click()
    stop.wait_for(state="hidden")
    page.get_by_role("progressbar").first.wait_for(state="hidden")
    return {
        **figures,
        **paints(address, page, large, visits, "idle"),
        "click, idle": spread(view_changes(training, page, clicks)),
        "threshold move": spread(
            threshold_moves(f"{address}/comparison?run={large}", page, clicks)
        ),
    }


def paths(large: str) -> tuple[str, ...]:
    """Every page; those of results with the large run."""
    return ("", "datasets", "training", f"policy?run={large}", f"comparison?run={large}", "guide")


def paints(address: str, page: Page, large: str, visits: int, state: str) -> Figures:
    """From asking for a page, as a reload does, until its title is there."""
    taken: dict[str, list[float]] = {name: [] for name in paths(large)}
    for _ in range(visits):
        for name, values in taken.items():
            start = time.monotonic()
            page.goto(f"{address}/{name}")
            page.locator("h1").wait_for()
            values.append(1000 * (time.monotonic() - start))
    return {
        f"first paint of /{name.partition('?')[0]}, {state}": spread(v) for name, v in taken.items()
    }


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


def threshold_moves(address: str, page: Page, moves: int) -> list[float]:
    """Milliseconds from pressing the threshold's slider until the matrices tell other numbers."""
    page.goto(address)
    rail = page.locator(".slider-rail-touch-rect").first
    rail.wait_for()
    rail.scroll_into_view_if_needed()
    page.wait_for_timeout(2000)
    box = rail.bounding_box()
    assert box is not None
    taken = []
    for i in range(moves):
        page.evaluate(TIME_NEXT_MOVE)
        place = 0.2 + 0.6 * ((i * 0.37) % 1)
        page.mouse.click(box["x"] + place * box["width"], box["y"] + box["height"] / 2)
        page.wait_for_function("window.moveAnswered")
        taken.append(float(page.evaluate("window.moveAnswered")))
    return taken


def curve_lags(page: Page, workspace: Workspace, address: str, epochs: int = 10) -> list[float]:
    """Milliseconds from an epoch's line in the run's events until the open page shows it."""
    page.goto(address)
    page.locator(CURVE).first.wait_for()
    run_id = address.split("run=")[1].split("&")[0]
    events = workspace.runs / run_id / "events.jsonl"
    taken: list[float] = []
    # The first look finds what was there before; only what comes from now on counts.
    seen = shown_epochs(page)
    deadline = time.monotonic() + FIRST_EPOCH_MS / 1000
    while len(taken) < epochs and time.monotonic() < deadline:
        now = shown_epochs(page)
        if now > seen:
            written = [e["time"] for e in read_events(events)[0] if e["type"] == "metrics"]
            if written:
                taken.append(1000 * max(time.time() - written[-1], 0.0))
            seen = now
        page.wait_for_timeout(30)
    return taken or [float("nan")]


def shown_epochs(page: Page) -> int:
    """Epochs in all curves on the page, as their text alternatives say."""
    texts = page.locator(CURVE).evaluate_all("all => all.map(e => e.getAttribute('aria-label'))")
    return sum(int(re.findall(r"over (\d+) epochs", text)[0]) for text in texts)


def sessions(browser: Browser, address: str, large: str, number: int) -> Figures:
    """So many visitors at once, each on a page of their own: how long until all see it."""
    contexts = [browser.new_context() for _ in range(number)]
    pages = [context.new_page() for context in contexts]
    start = time.monotonic()
    offered = paths(large)
    for i, page in enumerate(pages):
        page.goto(f"{address}/{offered[i % len(offered)]}", wait_until="commit")
    for page in pages:
        page.locator("h1").wait_for(timeout=FIRST_EPOCH_MS)
    seconds = time.monotonic() - start
    errors = sum(page.get_by_test_id("stException").count() for page in pages)
    for context in contexts:
        context.close()
    return {f"{number} sessions at once": {"all_ms": 1000 * seconds, "errors": float(errors)}}


def memory(address: str, page: Page, large: str, visits: int) -> Figures:
    """Megabytes of the server before and after so many page visits (each is a new session)."""
    server = server_of(address)

    def visit(times: int) -> None:
        offered = paths(large)
        for i in range(times):
            page.goto(f"{address}/{offered[i % len(offered)]}")
            page.locator("h1").wait_for()

    visit(len(paths(large)) * 2)  # What is kept once for all is kept now.
    before = _megabytes(server)
    visit(visits)
    return {f"memory over {visits} visits": {"before_mb": before, "after_mb": _megabytes(server)}}


def _megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile and most."""
    return {
        "median_ms": statistics.median(values),
        "p95_ms": float(np.percentile(values, 95)),
        "max_ms": max(values),
    }


if __name__ == "__main__":
    main()
