"""Pages run without a browser, each test in a workspace of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.workspace import Workspace
from dashboard import results

APP = Path(__file__).parents[2] / "dashboard" / "app.py"
Open = Callable[..., AppTest]


@pytest.fixture
def open_page(workspace: Workspace) -> Open:
    """Open a page by name, with query parameters."""
    results._results.clear()

    def open_page(page: str, **query: str) -> AppTest:
        app = AppTest.from_file(APP, default_timeout=120)
        for name, value in query.items():
            app.query_params[name] = value
        return app.switch_page(f"../pages/{page}.py").run()

    return open_page
