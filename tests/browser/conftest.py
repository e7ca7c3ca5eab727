"""The dashboard's server and a real browser, as pytest gives them to the tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from core.workspace import Workspace
from tests.browser.serving import NotStarted, launch_chromium, served


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; skips where there is none, except in CI, where there must be one."""
    with sync_playwright() as playwright:
        try:
            launched = launch_chromium(playwright)
        except PlaywrightError as error:
            reason = f"no Chromium (set CANFUSION_CHROMIUM): {str(error).splitlines()[0]}"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A wide tab of a fresh visitor."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    yield context.new_page()
    context.close()


@pytest.fixture
def server(workspace: Workspace, tmp_path: Path) -> Iterator[str]:
    """Address of a fresh dashboard on a workspace of its own."""
    try:
        with served(workspace.root, tmp_path / "server.log") as address:
            yield address
    except NotStarted as error:
        pytest.fail(str(error))
