"""An open page without a browser: asks the server for what a browser would, and draws nothing."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

READY_S = 60.0


class Watcher:
    """One visit of a page by Streamlit's protocol; its timers run like those of the browser.

    Attributes:
        redrawn: how many times a part of the page came anew because its timer was up.
        error: what the page last said of an exception.
    """

    def __init__(self, connection: ClientConnection, address: str) -> None:
        parts = urlsplit(address)
        self.redrawn = 0
        self.error = ""
        self._connection = connection
        self._page = (parts.path.strip("/"), parts.query)
        self._timers: dict[str, tuple[float, float]] = {}
        """Of a part of the page: seconds between two redraws, and when the next is due."""

    def open(self) -> None:
        """Ask for the whole page and wait until it has come."""
        self._ask("")
        deadline = time.monotonic() + READY_S
        while self._take(deadline - time.monotonic()) != "script_finished":
            if time.monotonic() > deadline:
                raise TimeoutError(f"no page within {READY_S:.0f} s")

    def watch(self, closed: threading.Event) -> None:
        """Redraw what has a timer, when it is due, until closed."""
        while not closed.is_set():
            now = time.monotonic()
            for part, (seconds, due) in list(self._timers.items()):
                if now >= due:
                    self._ask(part)
                    self._timers[part] = (seconds, now + seconds)
            self._take(0.02)

    def _ask(self, part: str) -> None:
        message = BackMsg()
        state = message.rerun_script
        state.page_name, state.query_string = self._page
        state.fragment_id, state.is_auto_rerun = part, bool(part)
        self._connection.send(message.SerializeToString())

    def _take(self, timeout_s: float) -> str:
        """One message, if any comes in time: what kind it is of."""
        try:
            raw = self._connection.recv(timeout=max(timeout_s, 0.0))
        except TimeoutError:
            return ""
        message = ForwardMsg()
        assert isinstance(raw, bytes)
        message.ParseFromString(raw)
        kind = str(message.WhichOneof("type"))
        if kind == "auto_rerun":
            timer = message.auto_rerun
            self._timers[timer.fragment_id] = (timer.interval, time.monotonic() + timer.interval)
        if kind == "script_finished" and message.script_finished == (
            ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY
        ):
            self.redrawn += 1
        if kind == "delta" and message.delta.new_element.HasField("exception"):
            self.error = message.delta.new_element.exception.message
        return kind


@contextmanager
def watching(address: str) -> Iterator[Watcher]:
    """A page that is open for as long as the block lasts."""
    host = urlsplit(address).netloc
    with connect(
        f"ws://{host}/_stcore/stream", origin=f"http://{host}", max_size=None
    ) as connection:
        watcher, closed = Watcher(connection, address), threading.Event()
        watcher.open()
        thread = threading.Thread(target=watcher.watch, args=(closed,))
        thread.start()
        try:
            yield watcher
        finally:
            closed.set()
            thread.join()
