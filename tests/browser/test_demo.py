"""From an empty workspace to a comparison, as a first visitor does it."""

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1200)]

DEMO_MS = 900_000


def curves(page: Page) -> list[str]:
    """What the live curves show, as their text alternatives say."""
    return page.locator("[aria-label*=' epochs; last: ']").evaluate_all(
        "elements => elements.map(e => e.getAttribute('aria-label'))"
    )


def wait_until(page: Page, condition: Callable[[], bool], what: str, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        page.wait_for_timeout(200)


def test_the_demo_runs_end_to_end_and_survives_a_reload(server, page):
    page.goto(server)
    expect(page.get_by_text("No results yet.")).to_be_visible()
    page.get_by_role("button", name="Run the demo end to end").click()
    page.wait_for_url(re.compile(r"/training\?run="))
    address = page.url
    run_id = address.split("run=")[1]

    wait_until(page, lambda: bool(curves(page)), "the first curve")
    early = curves(page)
    # By itself, without a click: more epochs, or the next network's.
    wait_until(page, lambda: curves(page) != early, "the curve to go on")
    page.reload()
    # In the page itself: for as long as a page is being made, the header has a "Stop" too.
    body = page.get_by_test_id("stMainBlockContainer")
    expect(body.get_by_role("button", name="Stop")).to_be_visible(timeout=60_000)
    assert page.url == address
    wait_until(page, lambda: bool(curves(page)), "the curve after a reload")

    body.get_by_role("button", name="Pause").first.click()
    resume = body.get_by_role("button", name="Resume").first
    expect(resume).to_be_visible(timeout=60_000)
    resume.click()
    expect(body.get_by_role("button", name="Pause").first).to_be_visible(timeout=60_000)

    second = page.context.new_page()
    second.goto(server)
    expect(second.get_by_text("Demo, end to end").first).to_be_visible(timeout=60_000)
    second.get_by_role("link", name="Watch").click()
    second.wait_for_url(re.compile(run_id))
    second.close()

    policy = page.get_by_role("link", name="See the policy")
    expect(policy).to_be_visible(timeout=DEMO_MS)
    policy.click()
    page.wait_for_url(re.compile(rf"/policy\?run={run_id}"))
    expect(page.locator(".heatmaplayer image").first).to_be_attached(timeout=60_000)
    expect(page.get_by_text("simulated data").first).to_be_visible()

    page.goto(f"{server}/comparison?run={run_id}")
    expect(page.locator(".barlayer .point").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("mean F1").first).to_be_visible()
    assert page.locator("[data-testid=stException]").count() == 0
