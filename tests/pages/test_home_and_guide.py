"""Home with its tour, the guide, the keys that open pages, and sign-in."""

import pytest

from dashboard import sign_in
from dashboard.tour import STOPS
from tests.dashboard.run_folders import write_run
from tests.pages.test_pages import said


def press(app, key):
    app.button(key=key).click().run()


def test_a_first_visit_begins_with_the_tour_and_has_five_steps(open_page, workspace):
    app = open_page("home")
    seen = [said(app)]
    while any(button.key == "tour-next" for button in app.button):
        press(app, "tour-next")
        seen.append(said(app))
    assert len(seen) == len(STOPS) == 5
    assert all(stop.title in text for stop, text in zip(STOPS, seen, strict=True))
    press(app, "tour-back")
    assert "step 4 of 5" in said(app)
    press(app, "tour-close")
    assert "step" not in said(app).replace("every step", "")
    assert not app.exception


def test_a_later_visit_can_take_the_tour(open_page, workspace):
    write_run(workspace)
    app = open_page("home")
    assert STOPS[0].title not in said(app)
    next(b for b in app.button if b.label == "Take the tour").click().run()
    assert STOPS[0].title in said(app)


def test_the_guide_finds_words(open_page, workspace):
    app = open_page("guide", word="oracle")
    assert not app.exception
    assert "**Oracle**" in said(app)
    assert "**Window**" not in said(app)
    app.text_input(key="word").set_value("<script>").run()
    assert "No such word here" in said(app)


def test_every_page_has_a_key(open_page, workspace):
    app = open_page("home")
    digits = [key for button in app.button if (key := button.key or "").startswith("go-")]
    assert digits == [f"go-{n}" for n in range(1, 7)]
    press(app, "go-6")
    assert app.title[0].value == "Guide"


@pytest.mark.parametrize("page", ["home", "training", "comparison"])
def test_where_sign_in_is_configured_every_page_needs_it(open_page, workspace, monkeypatch, page):
    write_run(workspace)
    monkeypatch.setattr(sign_in, "is_configured", lambda: True)
    app = open_page(page)
    assert not app.exception
    assert "Sign in to see" in said(app)
    assert [button.label for button in app.button] == ["Sign in"]
    assert len(app.dataframe) == 0


def test_damaged_secrets_do_not_open_the_pages(open_page, workspace, monkeypatch):
    def damaged():
        raise FileNotFoundError

    monkeypatch.setattr(sign_in, "is_configured", damaged)
    app = open_page("home")
    assert not app.exception
    assert "cannot be read, so nobody can sign in" in app.error[0].value
    assert len(app.button) == 0
