"""The comparison page, for somebody who shows results to people who have ten minutes."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from core.workspace import Workspace
from tests.browser.test_data_page import body
from tests.browser.test_policy_page import MS
from tests.dashboard.run_folders import RUN_ID, write_run

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>.csv"


def matrices(page: Page) -> list[str]:
    return page.locator(".textpoint").all_text_contents()


def test_a_threshold_move_changes_the_matrices_and_a_cell_leads_to_its_windows(
    workspace: Workspace, server: str, page: Page
) -> None:
    write_run(workspace)
    page.goto(f"{server}/comparison?run={RUN_ID}")
    rail = page.locator(".slider-rail-touch-rect").first
    expect(rail).to_be_attached(timeout=MS)
    rail.scroll_into_view_if_needed()
    page.wait_for_timeout(1500)
    before = matrices(page)
    box = rail.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 0.3 * box["width"], box["y"] + box["height"] / 2)
    page.wait_for_function(
        "before => [...document.querySelectorAll('.textpoint')].some((e, i) => "
        "e.textContent !== before[i])",
        arg=before,
        timeout=MS,
    )

    # False alarms of the last method, at the threshold that was chosen.
    cell = page.locator(".textpoint", has_text="alarms").last.bounding_box()
    assert cell is not None
    page.mouse.click(cell["x"] + cell["width"] / 2, cell["y"] + cell["height"] / 2)
    expect(page).to_have_url(re.compile(r"cell=fusion-fp"), timeout=MS)
    expect(
        body(page).get_by_text(re.compile(r"DQN fusion at 0\.\d+: \d+ false alarms"))
    ).to_be_visible(timeout=MS)
    asked = re.findall(r"threshold=(0\.\d+)", page.url)
    assert asked
    assert asked != ["0.5"]
    assert page.locator("[data-testid=stException]").count() == 0


def test_the_report_opens_without_a_network_and_runs_nothing_that_it_was_fed(
    workspace: Workspace, server: str, page: Page, tmp_path: Path
) -> None:
    folder = write_run(workspace)
    results = json.loads((folder / "results.json").read_text())
    scenarios = results["scenarios"]
    numbers = scenarios.pop("test_01_known_vehicle_known_attack")
    numbers["captures"][HOSTILE] = numbers["captures"].pop("DoS-1.csv")
    results["warnings"] = [HOSTILE]
    scenarios[f"test_{HOSTILE}"] = numbers
    (folder / "results.json").write_text(json.dumps(results))

    page.goto(f"{server}/comparison?run={RUN_ID}")
    with page.expect_download(timeout=MS) as waited:
        body(page).get_by_role("button", name="Report as .html").click(timeout=MS)
    file = tmp_path / "report.html"
    waited.value.save_as(file)

    alone = page.context.new_page()
    asked: list[str] = []
    said: list[str] = []
    alone.on("request", lambda request: asked.append(request.url))
    alone.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    alone.goto(file.as_uri())
    expect(alone.get_by_role("heading", level=1)).to_have_text("Intrusion detection on demo")
    expect(alone.locator(".barlayer .point").first).to_be_attached(timeout=MS)
    expect(alone.get_by_text("Where this comes from")).to_be_attached()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert said == []
    assert alone.locator("img[src=x]").count() == 0
