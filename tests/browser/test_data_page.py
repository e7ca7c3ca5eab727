"""The data set page, as somebody uses it who brings captures of their own."""

import random
import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, TimeoutError, expect

from core.workspace import Workspace

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HEAD = "timestamp,arbitration_id,data_field,attack\n"
FREE, ATTACKED, TEST = "train_01_attack_free", "train_02_with_attacks", "test_01_known"
NAME = "Prüfstand 3 – 東京"
MS = 30_000


def lines(seed: int, attacked: range = range(0), frames: int = 400) -> str:
    draw = random.Random(seed)
    return "".join(
        f"{i / 100:.2f},{0x100 + i % 7:03X},{draw.getrandbits(64):016X},{int(i in attacked)}\n"
        for i in range(frames)
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder to import: a file that cannot be read, bad lines, a leak between train and test."""
    for key, content in {
        f"{FREE}/clean.csv": HEAD + lines(1),
        f"{ATTACKED}/DoS-a.csv": HEAD + lines(2, range(100, 200)),
        f"{TEST}/odd.csv": HEAD + lines(3) + "x,1,00,0\n9.0,2.00E+06,00,0\n",
        f"{TEST}/copy.csv": HEAD + lines(1),
    }.items():
        path = tmp_path / "source" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tmp_path / "source" / TEST / "broken.blf").write_bytes(random.Random(0).randbytes(3000))
    return tmp_path / "source"


def body(page: Page) -> Locator:
    """The page itself: the header has a "Stop" of its own while a page is being made."""
    return page.get_by_test_id("stMainBlockContainer")


def choose(page: Page, label: str, option: str) -> None:
    """Choose from a list, opened again where a page that is made anew has closed it."""
    wanted = page.get_by_role("option", name=option)
    for _ in range(6):
        body(page).get_by_role("combobox", name=re.compile(label)).click()
        try:
            wanted.click(timeout=5000)
        except TimeoutError:
            continue
        return
    wanted.click()


def test_captures_are_imported_looked_into_and_removed(
    workspace: Workspace, source: Path, server: str, page: Page
) -> None:
    page.goto(f"{server}/datasets")
    page.get_by_role("tab", name="Import a folder on this machine").click()
    page.get_by_role("textbox", name="Folder on this machine").fill(str(source))
    page.get_by_role("textbox", name="Name in the workspace").fill(NAME)
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("Importing")).to_be_visible(timeout=MS)
    expect(page.get_by_text("Nothing is running.")).to_be_visible(timeout=MS)

    cache = workspace.prediction_cache(NAME, "commissioned")
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"made from it")

    # The import is catalogued: what is wrong is said without asking.
    choose(page, "Data set", NAME)
    alerts = body(page).get_by_test_id("stAlert")
    leak = alerts.filter(has_text="a test capture is also trained on")
    expect(leak).to_contain_text(f"{FREE}/clean.csv and {TEST}/copy.csv", timeout=MS)
    quarantine = alerts.filter(has_text="Cannot be used")
    expect(quarantine).to_contain_text("broken.blf")
    expect(quarantine).to_contain_text("2 lines set aside in odd.csv")

    # The attacked capture comes first; another one tells its bad lines.
    expect(body(page).get_by_text("DoS: 100 frames between 1.0 s and 2.0 s")).to_be_visible()
    expect(body(page).locator(".js-plotly-plot").first).to_be_visible()
    choose(page, "Capture", f"{TEST}/odd.csv")
    expect(body(page).get_by_text("Lines set aside", exact=True)).to_be_visible(timeout=MS)
    choose(page, "Capture", f"{TEST}/broken.blf")
    expect(alerts.filter(has_text="This capture cannot be used")).to_be_visible(timeout=MS)

    # The leak can be mended, and taken back.
    body(page).get_by_role("button", name="Leave 1 test capture out").click()
    expect(leak).to_have_count(0, timeout=MS)
    expect(body(page).get_by_text(f"Left out: {TEST}/copy.csv")).to_be_visible()
    body(page).get_by_role("button", name="Take them back").click()
    expect(leak).to_be_visible(timeout=MS)

    # Removing asks, and says what hangs on it.
    body(page).get_by_role("button", name="Remove this data set").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(NAME)
    expect(dialog).to_contain_text("prediction cache, commissioned")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert (workspace.datasets / NAME).is_dir()
    body(page).get_by_role("button", name="Remove this data set").click()
    dialog.get_by_text("Delete these too").click()
    dialog.get_by_role("button", name="Remove it").click()
    expect(dialog).to_have_count(0, timeout=MS)
    expect(leak).to_have_count(0, timeout=MS)
    assert not (workspace.datasets / NAME).exists()
    assert not cache.exists()
    assert source.is_dir()
    expect(page).to_have_url(f"{server}/datasets")
    assert page.locator("[data-testid=stException]").count() == 0


def test_a_catalogue_at_work_is_stopped_in_the_middle_of_a_capture(
    workspace: Workspace, server: str, page: Page
) -> None:
    endless = workspace.datasets / "mine" / FREE / "endless.csv"
    endless.parent.mkdir(parents=True)
    with endless.open("wb") as file:
        file.write(HEAD.encode())
        file.truncate(1 << 40)  # A terabyte that takes no space.
    page.goto(f"{server}/datasets?dataset=mine")
    body(page).get_by_role("button", name="Look at them now").click()
    stop = body(page).get_by_role("button", name="Stop")
    expect(stop).to_be_visible(timeout=MS)
    stop.click()
    expect(page.get_by_text("Nothing is running.")).to_be_visible(timeout=MS)
    expect(body(page).get_by_text("not looked at these captures yet")).to_be_visible()
