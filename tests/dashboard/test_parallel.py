import dataclasses
import json

import pandas as pd

from core.config import create_fusion_config
from core.jobs.notes import Notes
from core.jobs.run import load_manifest
from dashboard.parallel import parallel_coordinates, run_table
from dashboard.runs import figures_of, matches
from tests.dashboard.run_folders import RUN_ID, write_run


def runs(workspace, *settings):
    found = []
    for number, changes in enumerate(settings):
        folder = write_run(workspace, f"2026030{number}-120000-cafe", seed=number)
        config = json.loads(json.dumps(create_fusion_config(**changes).to_dict()))
        run = load_manifest(folder)
        found.append(dataclasses.replace(run, params={**run.params, "config": config}))
    return found


def test_only_settings_that_differ_get_an_axis(workspace):
    table = run_table(
        runs(workspace, {"agent": {"fusion_lr": 0.01}}, {"agent": {"fusion_lr": 0.1}}), workspace
    )
    assert list(table) == ["agent.fusion_lr", "F1", "gap closed"]
    assert table["agent.fusion_lr"].tolist() == [0.01, 0.1]
    assert table["F1"].notna().all()


def test_runs_without_results_are_left_out(workspace):
    folder = write_run(workspace, results=False)
    assert figures_of(folder) == {"f1": None, "gap_closed": None}
    assert run_table([load_manifest(folder)], workspace).empty


def test_names_have_an_axis_of_names_and_hold_no_markup():
    table = pd.DataFrame({"data.dataset": ["<b>x</b>", "demo"], "F1": [0.5, 0.9]})
    names, f1 = parallel_coordinates(table).data[0].dimensions
    assert names.ticktext == ("‹b›x‹/b›", "demo")
    assert list(f1["values"]) == [0.5, 0.9]


def test_the_search_needs_every_word_somewhere(workspace):
    run = load_manifest(write_run(workspace))
    notes = Notes(("baseline",), "for Anna")
    for text in ("", "demo BASELINE", "anna fusion", RUN_ID[-4:], "commissioned"):
        assert matches(run, notes, text)
    assert not matches(run, notes, "demo zero-shot")
