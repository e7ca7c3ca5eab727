"""The training page: form and what was changed, going on, cloning, deleting, notes, many runs."""

import dataclasses
import json

import pytest

from core.config import create_fusion_config
from core.jobs.notes import Notes, read_notes, write_notes
from core.jobs.registry import JobRegistry, registry
from core.jobs.run import INTERRUPTED, QUEUED, load_manifest, save_manifest
from dashboard.forms import OTHERS
from dashboard.live import queue_text
from tests.dashboard.run_folders import RUN_ID, write_run
from tests.pages.test_pages import pipeline, said

__all__ = ["pipeline"]
OTHER = "20260303-120000-cafe"


def with_settings(workspace, run_id=RUN_ID, **changes):
    folder = write_run(workspace, run_id)
    config = json.loads(json.dumps(create_fusion_config(**changes).to_dict()))
    run = load_manifest(folder)
    save_manifest(folder, dataclasses.replace(run, params={**run.params, "config": config}))
    return folder


def changed(app):
    return {
        row.Setting: (row.Before, row.Now)
        for frame in app.dataframe
        if "Before" in frame.value.columns
        for row in frame.value.itertuples()
    }


def test_what_was_changed_from_the_preset_is_told(open_page, workspace):
    app = open_page("training")
    assert "All settings are those of the preset." in said(app)
    app.number_input(key="setting-training.max_epochs").set_value(3).run()
    usual = str(create_fusion_config().training.max_epochs)
    assert changed(app) == {"training.max_epochs": (usual, "3")}


def test_settings_beyond_the_main_ones_are_drawn_when_asked_for_and_kept(open_page, workspace):
    app = open_page("training")
    field = "setting-agent.gamma"
    assert field not in {widget.key for widget in app.number_input}
    app.session_state[OTHERS] = True
    app.run()
    usual = str(create_fusion_config().agent.gamma)
    app.number_input(key=field).set_value(0.5).run()
    app.session_state[OTHERS] = False
    app.run()
    assert changed(app) == {"agent.gamma": (usual, "0.5")}


def test_the_settings_of_a_run_are_cloned_and_left_again(open_page, workspace):
    with_settings(workspace, training={"max_epochs": 5}, agent={"fusion_lr": 0.02})
    app = open_page("training", run=RUN_ID)
    app.button(key=f"clone-{RUN_ID}").click().run()
    assert not app.exception
    assert app.number_input(key="setting-training.max_epochs").value == 5
    assert app.number_input(key="setting-agent.fusion_lr").value == 0.02
    assert "All settings are those of the run." in said(app)
    app.button(key="no-clone").click().run()
    usual = create_fusion_config().training.max_epochs
    assert app.number_input(key="setting-training.max_epochs").value == usual


@pytest.mark.parametrize("run_id", ["20200101-000000-dead", "../..", "<script>"])
def test_a_clone_of_no_run_begins_with_the_preset(open_page, workspace, run_id):
    app = open_page("training", clone=run_id)
    assert not app.exception
    assert "are not known" in said(app)


def test_while_a_run_is_watched_the_form_is_folded_until_asked_for(open_page, workspace, pipeline):
    app = open_page("training")
    app.button(key="start-fusion").click().run()
    field = "setting-training.max_epochs"
    assert field not in {widget.key for widget in app.number_input}
    run_id = registry(workspace).runs()[0].id
    for asked in ({"start": "open"}, {"clone": run_id}):
        app = open_page("training", run=run_id, **asked)
        assert app.number_input(key=field).value


def test_settings_and_outcomes_are_drawn_when_unfolded_and_have_an_address(open_page, workspace):
    write_run(workspace)
    with_settings(workspace, OTHER)
    drawn = "One line is one run"
    assert drawn not in said(open_page("training"))
    with_settings(workspace, "20260304-120000-cafe")
    assert drawn in said(open_page("training", outcomes="true"))


def test_an_interrupted_run_says_so_and_goes_on(open_page, workspace, pipeline):
    folder = with_settings(workspace, training={"max_epochs": 9})
    run = dataclasses.replace(load_manifest(folder), state=INTERRUPTED, fraction=0.4, error="ended")
    save_manifest(folder, run)
    app = open_page("training", run=RUN_ID)
    assert "Interrupted at 40 %" in said(app)
    app.button(key=f"again-{RUN_ID}").click().run()
    assert not app.exception
    newest = registry(workspace).runs()[0]
    assert newest.id != RUN_ID
    assert newest.params["config"]["training"]["max_epochs"] == 9


def test_the_same_job_from_two_tabs_is_one_run(open_page, workspace, pipeline):
    tabs = [open_page("training"), open_page("training")]
    for tab in tabs:
        tab.button(key="start-fusion").click().run()
        assert not tab.exception
    assert len(registry(workspace).runs()) == 1


def test_other_runs_lie_over_the_curves(open_page, workspace):
    write_run(workspace)
    write_run(workspace, OTHER)
    app = open_page("training", run=RUN_ID)
    app.multiselect(key="live_beside").select(OTHER).run()
    assert not app.exception
    assert app.multiselect(key="live_beside").value == [OTHER]


def test_a_run_that_has_ended_is_read_once(open_page, workspace, monkeypatch):
    write_run(workspace)
    write_run(workspace, OTHER)
    read, events = [], JobRegistry.events

    def noting(jobs, run_id, after=0):
        read.append(run_id)
        return events(jobs, run_id, after)

    monkeypatch.setattr(JobRegistry, "events", noting)
    app = open_page("training", run=RUN_ID)
    app.multiselect(key="live_beside").select(OTHER).run()
    app.run()
    assert not app.exception
    assert read.count(OTHER) == 1


def test_tags_and_notes_are_shown_and_searched(open_page, workspace):
    write_run(workspace)
    write_notes(write_run(workspace, OTHER), Notes(("baseline",), "<script>alert(1)</script>"))
    app = open_page("training", find="baseline")
    assert "1 of 2 runs" in said(app)
    table = next(f.value for f in app.dataframe if "Tags" in f.value.columns)
    assert table["Note"].tolist() == ["<script>alert(1)</script>"]
    assert "<script>" not in said(app)
    app.text_input(key="find").set_value("nothing like it").run()
    assert "No run matches" in said(app)


def test_what_is_typed_into_the_list_is_kept(workspace, monkeypatch):
    from dashboard import runs

    write_run(workspace)
    state = {"k": {"edited_rows": {0: {"Tags": "a, b", "Note": "good"}}}}
    monkeypatch.setattr(runs.st, "session_state", state)
    runs._keep("k", [RUN_ID], workspace)
    assert read_notes(workspace.runs / RUN_ID) == Notes(("a", "b"), "good")
    state["k"] = {"edited_rows": {0: {"Tags": "x" * 50}}}
    runs._keep("k", [RUN_ID], workspace)
    assert "expected at most" in state["notes_refused"][0]
    assert read_notes(workspace.runs / RUN_ID).tags == ("a", "b")


def test_a_waiting_run_says_how_many_are_before_it(workspace, monkeypatch):
    first, second = (
        dataclasses.replace(load_manifest(write_run(workspace, id)), state=state, created=created)
        for id, state, created in ((RUN_ID, "running", 1.0), (OTHER, QUEUED, 2.0))
    )
    monkeypatch.setattr(registry(workspace), "runs", lambda: [second, first])
    assert queue_text(second) == "waiting for its turn on cpu: 1 run before it"
    assert queue_text(first) == ""


def test_two_hundred_runs_are_listed(open_page, workspace):
    for number in range(200):
        write_run(workspace, f"20260101-{number:06}-beef", results=False)
    app = open_page("training")
    assert not app.exception
    assert "200 of 200 runs" in said(app)
