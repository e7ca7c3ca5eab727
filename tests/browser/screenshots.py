"""Pictures of every page in both themes: ``make screenshots`` writes them to assets/screenshots.

Runs the demo first, unless a workspace with a finished run is given; takes some minutes then.
"""

import argparse
import io
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from core.jobs.registry import registry
from core.workspace import Workspace
from dashboard.results import has_results, load_predictions, rows_where
from tests.browser.serving import ROOT, launch_chromium, served

FOLDER = ROOT / "assets" / "screenshots"
THEMES = ("light", "dark")
WIDTH = 1440
DEMO_MS = 1_800_000
LOADED = (
    "!document.querySelector('[data-testid=stSkeleton], [data-testid=stStatusWidget], "
    "[data-testid=stSpinner]')"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(prog="make screenshots", description=__doc__)
    parser.add_argument("--workspace", type=Path, help="with a finished run")
    parser.add_argument("--out", type=Path, default=FOLDER)
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        workspace = Workspace(args.workspace or Path(folder) / "workspace")
        browser = launch_chromium(playwright)
        with served(workspace.root, Path(folder) / "server.log") as address:
            if not _finished(workspace):
                run_demo(browser, address)
            take(browser, address, workspace, args.out)
        browser.close()


def run_demo(browser: Browser, address: str) -> None:
    """From the start page to results."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 1000})
    page.goto(address)
    page.get_by_role("button", name="Run the demo end to end").click(timeout=DEMO_MS)
    page.get_by_role("link", name="See the policy").wait_for(timeout=DEMO_MS)
    page.close()


def take(browser: Browser, address: str, workspace: Workspace, out: Path) -> None:
    """One picture per page and theme."""
    out.mkdir(parents=True, exist_ok=True)
    for theme in THEMES:
        context = browser.new_context(
            viewport={"width": WIDTH, "height": 1000},
            color_scheme="dark" if theme == "dark" else "light",
        )
        for name, path, height in pictures(workspace):
            page = context.new_page()
            page.set_default_timeout(DEMO_MS)
            page.set_viewport_size({"width": WIDTH, "height": height})
            page.goto(f"{address}{path}")
            _settle(page)
            _save(page.screenshot(), out / f"{name}-{theme}.png")
            page.close()
            sys.stderr.write(f"{name}-{theme}\n")
        context.close()


def _save(picture: bytes, path: Path) -> None:
    """In 256 colours, which these pages do with: less than half the size."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def pictures(workspace: Workspace) -> list[tuple[str, str, int]]:
    """Name, address and height of each picture."""
    run = _finished(workspace)[0]
    window = _missed_window(workspace, run)
    return [
        ("home", "/", 1250),
        ("datasets", "/datasets?draw=true", 2300),
        ("training", f"/training?run={run}", 1150),
        ("policy", f"/policy?run={run}", 1250),
        ("window", f"/policy?run={run}&window={window}&part=Graph", 2450),
        ("comparison", f"/comparison?run={run}", 2700),
        ("guide", "/guide", 1500),
    ]


def _finished(workspace: Workspace) -> list[str]:
    runs = registry(workspace).runs()
    return [run.id for run in runs if has_results(workspace.runs / run.id)]


def _missed_window(workspace: Workspace, run: str) -> str:
    """The first attacked test window that fusion misses, else the first attacked one."""
    table = load_predictions(workspace.runs / run)
    splits = sorted({str(s) for s in table["split"].unique().to_pylist()} - {"validation"})
    rows = rows_where(table, split=splits[-1])
    attacked = rows[rows["label"] == 1]
    missed = attacked[attacked["fused"] < 0.5]
    row = (missed if len(missed) else attacked if len(attacked) else rows).iloc[0]
    return f"{row['capture']}@{row['window']}"


def _settle(page: Page) -> None:
    page.locator("h1").wait_for()
    page.wait_for_timeout(2500)
    page.wait_for_function(LOADED)
    page.wait_for_timeout(2500)


if __name__ == "__main__":
    main()
