"""How fast pages and clicks are in a real browser: ``make bench-ui``.

Starts the dashboard on a workspace with 200 runs, one of a million windows, and a prediction cache
of as many; trains on the demo data set, measures while it trains, stops it and measures again.
Browser, server and training share this machine, as they do for one analyst.
"""

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from core.jobs.events import read_events
from core.workspace import Workspace
from tests.browser.crowded import LONG, RUNS, WINDOWS, crowd
from tests.browser.serving import launch_chromium, served, server_of
from tests.browser.watcher import watching

CURVE, LOG = "[aria-label*=' epochs; last: ']", ".st-key-live_log_lines"
FIRST_EPOCH_MS = 600_000
LAGS_S = 120.0
"""How long new epochs are waited for at most."""
TURNS, TURN_S = 10, 8.0
"""How often, and for how long, the page of a training is closed, open and watched in turn."""
VISITS_OF_MEMORY = 100
"""Page visits between two looks at the server's memory, unless told otherwise."""

# From asking for a page, as a reload does, to the first frame that shows its title, in milliseconds
# by the browser's own clock: an answer through Playwright waits for what the browser does next.
TIME_FIRST_PAINT = """
    const look = () => {
        if (document.querySelector("h1")) window.firstPaint = performance.now()
        else requestAnimationFrame(look)
    }
    requestAnimationFrame(look)
"""

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
    const told = () => [...document.querySelectorAll(".textpoint")].map(e => e.textContent).join()
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

Figure = tuple[str, dict[str, float]]
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
            figures: Figures = {}
            for some in (
                measure(address, page, workspace, large, args.visits, args.clicks),
                sessions(browser, address, large, args.sessions),
                memory(address, page, large, args.memory_visits),
            ):
                for name, values in some:
                    figures[name] = values
                    shown = "  ".join(f"{key} {value:7.1f}" for key, value in values.items())
                    (sys.stderr if args.json else sys.stdout).write(f"{name:41} {shown}\n")
                    sys.stdout.flush()
        browser.close()
    if args.json:
        sys.stdout.write(json.dumps(figures, indent=1) + "\n")


def measure(
    address: str, page: Page, workspace: Workspace, large: str, visits: int, clicks: int
) -> Iterator[Figure]:
    """What was measured, and its median, 95th percentile and most, in milliseconds."""
    page.set_default_timeout(FIRST_EPOCH_MS)
    known = {path.name for path in workspace.runs.iterdir()}
    page.goto(f"{address}/training?clone={LONG}")
    page.get_by_role("button", name="Train fusion").click()
    # The page names a run in its address before, too: the last one.
    page.wait_for_url(lambda url: "run=" in url and run_of(url) not in known)
    training = page.url
    # Detectors are trained first, and their curves are live too; then fusion, for hours.
    page.locator(CURVE).first.wait_for()
    yield "live curve of detectors, newest epoch", spread(curve_lags(page, workspace, training))
    while not fusion_epochs(workspace, training):
        page.wait_for_timeout(500)
    yield "live curve of fusion, behind", spread(epoch_lags(page, workspace, training))
    yield from paints(address, page, large, visits, "while training")
    yield "click, while training", spread(view_changes(training, page, clicks))
    yield "training, its page closed and open", slowdown(page, workspace, training)
    page.goto(training)
    stop_run(page)
    yield from paints(address, page, large, visits, "idle")
    yield "click, idle", spread(view_changes(training, page, clicks))
    moves = threshold_moves(f"{address}/comparison?run={large}", page, clicks)
    yield "threshold move", spread(moves)


def paths(large: str) -> tuple[str, ...]:
    """Every page; those of results with the large run."""
    return ("", "datasets", "training", f"policy?run={large}", f"comparison?run={large}", "guide")


def paints(address: str, page: Page, large: str, visits: int, state: str) -> Iterator[Figure]:
    """From asking for a page, as a reload does, to the first frame with its title; the page before
    was there as a whole."""
    page.goto("about:blank")
    visitor = page.context.new_page()
    visitor.add_init_script(TIME_FIRST_PAINT)
    taken: dict[str, list[float]] = {name: [] for name in paths(large)}
    for _ in range(visits):
        for name, values in taken.items():
            visitor.goto(f"{address}/{name}")
            visitor.wait_for_function("window.firstPaint")
            values.append(float(visitor.evaluate("window.firstPaint")))
            visitor.locator("[data-test-script-state=notRunning]").wait_for()
    visitor.close()
    for name, values in taken.items():
        yield f"first paint of /{name.partition('?')[0]}, {state}", spread(values)


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
    """Milliseconds from the newest line in the run's events until the open page shows it."""
    page.goto(address)
    page.locator(CURVE).first.wait_for()
    events = events_of(workspace, address)
    taken: list[float] = []
    # The first look finds what was there before; only what comes from now on counts.
    seen = curve_texts(page)
    deadline = time.monotonic() + LAGS_S
    while len(taken) < epochs and time.monotonic() < deadline:
        now = curve_texts(page)
        if now != seen:
            written = [e["time"] for e in read_events(events)[0] if e["type"] == "metrics"]
            taken.append(1000 * max(time.time() - written[-1], 0.0))
            seen = now
        page.wait_for_timeout(30)
    return taken or [float("nan")]


def epoch_lags(page: Page, workspace: Workspace, address: str, redraws: int = 30) -> list[float]:
    """Milliseconds from each epoch's line in the events of a fusion training until the open page
    shows it: of all epochs, also those that had to wait for the page's timer."""
    page.goto(address)
    page.locator(CURVE).first.wait_for()
    taken: list[float] = []
    shown = epochs_shown(page)
    deadline = time.monotonic() + LAGS_S
    while redraws and time.monotonic() < deadline:
        page.wait_for_timeout(20)
        now, at = epochs_shown(page), time.time()
        if now > shown:
            written = fusion_epochs(workspace, address)[shown:now]
            taken += [1000 * (at - epoch) for epoch in written]
            shown, redraws = now, redraws - 1
    return taken or [float("nan")]


def epochs_shown(page: Page) -> int:
    """So many epochs the first curve on the page has, as its text alternative says."""
    found = re.search(r"over (\d+) epochs", curve_texts(page)[0])
    assert found is not None
    return int(found[1])


def curve_texts(page: Page) -> list[str]:
    """Epochs and last values of all curves on the page, as their text alternatives say."""
    texts = page.locator(CURVE).evaluate_all("all => all.map(e => e.getAttribute('aria-label'))")
    return [str(text) for text in texts]


def slowdown(page: Page, workspace: Workspace, training: str) -> dict[str, float]:
    """Epochs of fusion training a second: its live page closed, open in a browser, and watched.

    The browser shares this machine's cores, as on a user's desk it would not. A page that is
    watched asks and gets the same, but nobody draws it: what an open page costs the server. Medians
    over turns, each beside the closed ones just before and after it: other work on the machine
    comes and goes.
    """
    closed: list[float] = []
    lost: dict[str, list[float]] = {"open": [], "watched": []}
    redraws = []

    def rate() -> float:
        start = time.time()
        time.sleep(TURN_S)
        times = [at for at in fusion_epochs(workspace, training) if at >= start]
        return (len(times) - 1) / (times[-1] - times[0])

    def compare(state: str, shown: float) -> None:
        closed.append(rate())
        lost[state].append(1 - shown / statistics.mean(closed[-2:]))

    closed.append(rate())
    for _ in range(TURNS):
        page.goto(training)
        page.locator(CURVE).first.wait_for()
        page.wait_for_timeout(2000)  # What a page costs once is not what an open one costs.
        shown = rate()
        page.goto("about:blank")
        page.wait_for_timeout(2000)
        compare("open", shown)
        with watching(training) as watcher:
            time.sleep(2)
            before = watcher.redrawn
            shown = rate()
            redraws.append((watcher.redrawn - before) / TURN_S)
            if watcher.error:
                raise RuntimeError(f"the watched page failed: {watcher.error}")
        compare("watched", shown)
    return {
        "closed_epochs_per_s": statistics.median(closed),
        "slower_percent": 100 * statistics.median(lost["open"]),
        "slower_percent_by_server": 100 * statistics.median(lost["watched"]),
        "redraws_per_s": statistics.median(redraws),
    }


def fusion_epochs(workspace: Workspace, training: str) -> list[float]:
    """When each epoch of fusion training was over."""
    events = read_events(events_of(workspace, training))[0]
    return [e["time"] for e in events if e["type"] == "metrics" and e["step"] == "fusion"]


def events_of(workspace: Workspace, training: str) -> Path:
    """What the run has said whose page has this address."""
    return workspace.runs / run_of(training) / "events.jsonl"


def run_of(address: str) -> str:
    """The run that a page's address names."""
    return address.split("run=")[1].split("&")[0]


def stop_run(page: Page) -> None:
    """Press the button of the run that the page shows, and wait until it has ended."""
    # In the page itself: for as long as a page is being made, the header has a "Stop" too.
    stop = page.get_by_test_id("stMainBlockContainer").get_by_role("button", name="Stop").first
    stop.click()
    stop.wait_for(state="hidden")
    page.get_by_role("progressbar").first.wait_for(state="hidden")


def sessions(browser: Browser, address: str, large: str, number: int) -> Iterator[Figure]:
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
    yield f"{number} sessions at once", {"all_ms": 1000 * seconds, "errors": float(errors)}


def memory(address: str, page: Page, large: str, visits: int) -> Iterator[Figure]:
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
    yield f"memory over {visits} visits", {"before_mb": before, "after_mb": _megabytes(server)}


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
