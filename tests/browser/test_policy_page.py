"""The policy page, for somebody who asks what the agent has learned and where it is wrong."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from core.workspace import Workspace
from tests.browser.test_data_page import body
from tests.dashboard.run_folders import RUN_ID, write_capture, write_epochs, write_run

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MS = 120_000
"""Patience with a busy machine."""
SIZE = 20
CAPTURE = "test_01_known_vehicle_known_attack/DoS-1.csv"


def map_is_drawn(page: Page) -> None:
    expect(page.locator(".heatmaplayer image").first).to_be_attached(timeout=MS)
    page.wait_for_timeout(1000)


def click_cell(page: Page, row: int, column: int) -> None:
    area = page.locator(".js-plotly-plot .nsewdrag").first.bounding_box()
    assert area is not None
    page.mouse.click(
        area["x"] + area["width"] * (column + 0.5) / SIZE,
        area["y"] + area["height"] * (1 - (row + 0.5) / SIZE),
    )


def test_from_a_cell_to_a_window_to_its_frames_and_back_by_link(
    workspace: Workspace, server: str, page: Page
) -> None:
    write_run(workspace)
    write_capture(workspace, CAPTURE, 150, range(5000, 7500, 10))
    page.goto(f"{server}/policy?run={RUN_ID}")
    map_is_drawn(page)
    click_cell(page, 3, 2)
    expect(page.get_by_text("anomaly near 0.16, GAT near 0.11")).to_be_visible(timeout=MS)
    expect(page).to_have_url(re.compile(r"anomaly=0\.16.*gat=0\.11"))

    # The first row of the table: it is drawn on a canvas, so only a place can be clicked.
    table = page.get_by_test_id("stDataFrame").last
    table.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    box = table.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 18, box["y"] + 35 + 17)
    window = body(page).locator(".st-key-one-window")
    expect(window).to_be_visible(timeout=MS)
    expect(page).to_have_url(re.compile("window="))
    expect(window.get_by_text("Fused score")).to_be_visible()
    before = page.url
    page.keyboard.press("n")
    expect(page).not_to_have_url(before, timeout=MS)

    # What is looked at is in the address: another visitor sees the same.
    page.goto(f"{server}/policy?run={RUN_ID}&window={CAPTURE}@50&part=Frames")
    expect(window.get_by_text("100 frames, 10 of them attacked")).to_be_visible(timeout=MS)
    window.get_by_text("Graph", exact=True).click()
    graph = window.get_by_test_id("stEChartsChart")
    expect(graph).to_be_visible(timeout=MS)
    expect(window.get_by_text("5 ids and 5 different transitions")).to_be_visible()
    assert page.locator("[data-testid=stException]").count() == 0


def test_epochs_are_played_in_the_browser(workspace: Workspace, server: str, page: Page) -> None:
    write_epochs(write_run(workspace), 6)
    page.goto(f"{server}/policy?run={RUN_ID}")
    map_is_drawn(page)
    page.get_by_text("All epochs, played").click()
    shown = page.locator(".slider-label", has_text="after epoch")
    expect(shown).to_have_text("after epoch 1", timeout=MS)
    page.locator(".updatemenu-button", has_text="Play").click()
    expect(shown).to_have_text("after epoch 6", timeout=MS)


def test_the_map_taken_away_needs_no_network(
    workspace: Workspace, server: str, page: Page, tmp_path: Path
) -> None:
    write_run(workspace)
    page.goto(f"{server}/policy?run={RUN_ID}")
    map_is_drawn(page)
    with page.expect_download(timeout=MS) as waited:
        page.get_by_role("button", name="Policy as .html").click()
    file = tmp_path / "policy.html"
    waited.value.save_as(file)
    alone = page.context.new_page()
    asked: list[str] = []
    alone.on("request", lambda request: asked.append(request.url))
    alone.goto(file.as_uri())
    expect(alone.locator(".heatmaplayer image").first).to_be_attached(timeout=MS)
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
