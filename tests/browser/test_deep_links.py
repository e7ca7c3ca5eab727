"""Addresses that are opened first on a fresh server."""

import re

import pytest
from playwright.sync_api import expect

from tests.dashboard.run_folders import RUN_ID, write_run

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_deep_link_is_the_first_request(workspace, server, page):
    write_run(workspace)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{server}/policy?run={RUN_ID}")
    expect(page.locator(".heatmaplayer image").first).to_be_attached(timeout=120_000)
    assert page.url == f"{server}/policy?run={RUN_ID}"
    assert [url for url in asked if not url.startswith((server, "data:", "blob:"))] == []


def test_a_click_on_the_map_moves_the_what_if_and_lists_windows(workspace, server, page):
    write_run(workspace)
    page.goto(f"{server}/policy?run={RUN_ID}")
    expect(page.locator(".heatmaplayer image").first).to_be_attached(timeout=120_000)
    page.wait_for_timeout(1000)
    area = page.locator(".js-plotly-plot .nsewdrag").first.bounding_box()
    assert area is not None
    size = 20
    column, row = 16, 17
    page.mouse.click(
        area["x"] + area["width"] * (column + 0.5) / size,
        area["y"] + area["height"] * (1 - (row + 0.5) / size),
    )
    shown = f"anomaly near {row / (size - 1):.2f}, GAT near {column / (size - 1):.2f}"
    expect(page.get_by_text(shown)).to_be_visible(timeout=120_000)


def test_a_link_to_a_missing_run_says_so(server, page):
    page.goto(f"{server}/comparison?run=20200101-000000-dead")
    expect(page.get_by_text("There is no run")).to_be_visible(timeout=120_000)


def test_the_run_stays_chosen_from_page_to_page(workspace, server, page):
    write_run(workspace)
    write_run(workspace, "20260303-120000-cafe")
    page.goto(f"{server}/comparison?run={RUN_ID}")
    expect(page.get_by_text("mean F1").first).to_be_visible(timeout=120_000)
    page.get_by_role("link", name="Policy").first.click()
    page.wait_for_url(re.compile(rf"/policy\?run={RUN_ID}"))
