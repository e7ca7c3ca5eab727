"""Captures brought by upload: odd names, files cut short, and connections that break."""

import io
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
from playwright.sync_api import FilePayload, Locator, Page, Request, Route, expect

from core.workspace import Workspace

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SPLIT = "train_01_attack_free"
MS = 30_000


def candump(frames: int = 300) -> bytes:
    return b"".join(b"(%.6f) can0 1%02X#%016X\n" % (i / 100, i % 5, i) for i in range(frames))


def parquet() -> bytes:
    table = pd.DataFrame({"timestamp": [0.0, 0.1], "arbitration_id": [1, 2], "data_field": "00"})
    buffer = io.BytesIO()
    table.to_parquet(buffer)
    return buffer.getvalue()


def capture(name: str, content: bytes) -> FilePayload:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


def open_form(page: Page, server: str) -> Locator:
    """The form for uploads; the browser's own input for files is in it."""
    page.goto(f"{server}/datasets")
    form = page.get_by_test_id("stForm")
    form.get_by_role("textbox", name="Data set name").fill("mine")
    return form


def put_half(request: Request, path: Path) -> str:
    """Send the beginning of an upload as the browser would, and hang up; returns the address."""
    address = urlsplit(request.url)
    content = path.read_bytes()
    headers = {**request.headers, "content-length": str(len(content)), "host": address.netloc}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 80)) as connection:
        connection.sendall(f"PUT {address.path} HTTP/1.1\r\n{head}\r\n".encode())
        connection.sendall(content[: len(content) // 2])
    return request.url


def kept(workspace: Workspace) -> set[str]:
    return {path.name for path in (workspace.datasets / "mine" / SPLIT).glob("*")}


def test_odd_names_are_words_and_files_cut_short_are_refused(
    workspace: Workspace, server: str, page: Page
) -> None:
    form = open_form(page, server)
    form.locator("input[type=file]").set_input_files(
        [
            capture("Kia's drive 🚗 – süd.log", candump()),
            capture('a "quoted" <img src=x onerror=alert(1)>.log', candump()),
            capture("../../up.log", candump()),
            capture("half.parquet", parquet()[:-40]),
        ]
    )
    expect(form.get_by_role("button", name=re.compile("^Remove "))).to_have_count(4, timeout=MS)
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    form.get_by_role("button", name="Add", exact=True).click()

    alerts = page.get_by_test_id("stMainBlockContainer").get_by_test_id("stAlert")
    expect(alerts.filter(has_text="Added Kia's drive 🚗 – süd.log: 300 frames")).to_be_visible(
        timeout=MS
    )
    # A browser sends quotes in names this way.
    refused = alerts.filter(has_text="not a capture name: 'a %22quoted%22 <img")
    expect(refused).to_be_visible()
    assert refused.locator("img").count() == 0
    expect(alerts.filter(has_text="half.parquet")).to_contain_text("Parquet", ignore_case=True)
    # Nothing leaves the folder, nothing half is left in it.
    assert kept(workspace) == {"Kia's drive 🚗 – süd.log", "up.log"}
    page.goto(f"{server}/datasets?dataset=mine")
    expect(page.get_by_text("Kia's drive 🚗 – süd.log").first).to_be_attached(timeout=MS)
    assert page.get_by_test_id("stException").count() == 0


def test_an_upload_cut_in_the_middle_leaves_nothing_and_can_be_repeated(
    workspace: Workspace, server: str, page: Page, tmp_path: Path
) -> None:
    long = tmp_path / "long.log"
    long.write_bytes(candump(100_000))
    form = open_form(page, server)
    sent: list[str] = []

    def cut(route: Route) -> None:
        sent.append(put_half(route.request, long))
        route.abort("connectionreset")

    page.route(
        "**/upload_file/**", lambda r: cut(r) if r.request.method == "PUT" else r.continue_()
    )
    form.locator("input[type=file]").set_input_files(long)
    expect(form.get_by_role("alert")).to_be_visible(timeout=MS)
    assert sent
    form.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("Choose one or more files first.")).to_be_visible(timeout=MS)
    assert kept(workspace) == set()

    page.unroute("**/upload_file/**")
    form = open_form(page, server)
    form.locator("input[type=file]").set_input_files(long)
    expect(form.get_by_role("button", name="Remove long.log")).to_be_visible(timeout=MS)
    form.get_by_role("button", name="Add", exact=True).click()
    added = page.get_by_text("Added long.log: 100,000 frames")
    expect(added).to_be_visible(timeout=2 * MS)
    assert kept(workspace) == {"long.log"}


def test_a_file_of_a_gigabyte_is_refused_before_it_is_sent(
    workspace: Workspace, server: str, page: Page, tmp_path: Path
) -> None:
    huge = tmp_path / "huge.log"
    with huge.open("wb") as file:
        file.truncate(1 << 30)  # Takes no space.
    form = open_form(page, server)
    sent: list[str] = []
    page.on("request", lambda r: sent.append(r.url) if r.method == "PUT" else None)
    form.locator("input[type=file]").set_input_files(huge)
    expect(form.get_by_role("alert")).to_contain_text("must be 200.0MB or smaller", timeout=MS)
    assert sent == []
    assert kept(workspace) == set()
