import json

import numpy as np
import pyarrow as pa
import pytest

from core.errors import InputError
from dashboard.results import (
    load_policy,
    load_predictions,
    load_results,
    load_threshold,
    windows_in_cell,
)
from tests.dashboard.run_folders import write_run


def test_the_policy_is_a_grid_with_rows_of_anomaly(workspace):
    folder = write_run(workspace)
    policy = load_policy(folder)
    assert np.array_equal(policy.alpha, np.load(folder / "policy.npy"))
    row, column = policy.cell(0.0, 1.0)
    assert (row, column) == (0, len(policy.axis) - 1)
    assert policy.alpha[row, column] == 1.0


def test_every_window_is_in_exactly_one_cell(workspace):
    folder = write_run(workspace)
    policy, table = load_policy(folder), load_predictions(folder)
    size = len(policy.axis)
    found = sum(
        len(windows_in_cell(table, policy, row, column))
        for row in range(size)
        for column in range(size)
    )
    assert found == len(table)


def test_a_changed_file_is_read_again(workspace):
    folder = write_run(workspace)
    first = load_results(folder)
    changed = first | {"protocol": "zero-shot"}
    (folder / "results.json").write_text(json.dumps(changed))
    assert load_results(folder)["protocol"] == "zero-shot"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"scenarios": []}', '{"scenarios": {"a": 1}}'])
def test_a_corrupt_results_file_is_named(workspace, text):
    folder = write_run(workspace)
    (folder / "results.json").write_text(text)
    with pytest.raises(InputError, match="results"):
        load_results(folder)


@pytest.mark.parametrize("load", [load_results, load_predictions, load_policy])
def test_missing_files_are_named(workspace, load):
    folder = write_run(workspace, results=False)
    with pytest.raises(InputError, match="missing"):
        load(folder)


@pytest.mark.parametrize("keep", [0, 100, 5000])
def test_a_truncated_table_is_named(workspace, keep):
    path = write_run(workspace) / "predictions.arrow"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="cannot be read"):
        load_predictions(path.parent)


def test_a_table_without_a_column_names_it(workspace):
    path = write_run(workspace) / "predictions.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, pa.schema([])) as writer:
        writer.write_table(pa.table({}))
    with pytest.raises(InputError, match="lacks the columns alpha"):
        load_predictions(path.parent)


def test_the_threshold_comes_from_the_run(workspace):
    folder = write_run(workspace)
    assert load_threshold(folder) == 0.5
    (folder / "config.json").write_text(json.dumps({"evaluation": {"threshold": 0.7}}))
    assert load_threshold(folder) == 0.7
    (folder / "config.json").write_text("{")
    assert load_threshold(folder) == 0.5


def test_windows_of_a_cell_say_when_they_were_in_their_capture(workspace):
    folder = write_run(workspace)
    policy, table = load_policy(folder), load_predictions(folder)
    window = table.to_pandas().iloc[7]
    found = windows_in_cell(table, policy, *policy.cell(window.anomaly_score, window.gat_prob))
    mine = found[(found["capture"] == window.capture) & (found["window"] == window.window)].iloc[0]
    assert mine["seconds"] == pytest.approx(window.start_time)
