import numpy as np
import pytest

from dashboard.policy_figures import (
    ERRORS,
    OVERLAYS,
    PLAYED_EPOCHS,
    difference_map,
    policy_animation,
    policy_heatmap,
)
from dashboard.policy_files import policy_csv, policy_html, policy_npy
from dashboard.results import Policy, PolicyEpochs, load_epochs, load_policy
from tests.dashboard.run_folders import write_epochs, write_run


@pytest.fixture
def policy(workspace):
    return load_policy(write_run(workspace))


def test_the_heatmap_veils_exactly_the_cells_without_windows(policy):
    heat, veil, boundary, cells = policy_heatmap(policy, 0.4).data
    assert np.array_equal(heat.z, policy.alpha)
    assert np.array_equal(np.isnan(veil.z), policy.windows > 0)
    assert boundary.contours.start == 0.4
    assert len(cells.x) == policy.alpha.size


def test_clicking_a_cell_gives_its_scores(policy):
    cells = policy_heatmap(policy, 0.5).data[-1]
    index = 3 * len(policy.axis) + 7
    assert policy.cell(cells.y[index], cells.x[index]) == (3, 7)
    assert cells.customdata[index][0] == policy.alpha[3, 7]


def test_every_overlay_is_drawn_only_when_asked_for(policy):
    errors = policy.windows * 0, policy.windows * 0
    errors[0][2, 3] = 5
    bare = policy_heatmap(policy, 0.5, (), errors)
    assert [trace.type for trace in bare.data] == ["heatmap", "scatter"]
    for overlay in OVERLAYS:
        assert len(policy_heatmap(policy, 0.5, (overlay,), errors).data) == 3
    missed = policy_heatmap(policy, 0.5, (ERRORS,), errors).data[1]
    assert (missed.x[0], missed.y[0]) == (policy.axis[3], policy.axis[2])


def test_the_hover_tells_counts_and_errors_of_a_cell(policy):
    errors = policy.windows * 0 + 1, policy.windows * 0 + 2
    cells = policy_heatmap(policy, 0.5, (), errors).data[-1]
    row = cells.customdata[5 * len(policy.axis) + 6]
    assert row[1] == policy.windows[5, 6]
    assert list(row[-2:]) == [1, 2]
    assert f"%{{customdata[{len(row) - 1}]:,}} false alarms" in cells.hovertemplate


def test_the_fused_score_of_a_cell_is_between_its_scores(policy):
    assert policy.fused[4, 9] == pytest.approx(
        (1 - policy.alpha[4, 9]) * policy.axis[4] + policy.alpha[4, 9] * policy.axis[9]
    )


def test_the_difference_is_second_minus_first():
    axis = np.array([0.0, 1.0])
    counts = np.ones((2, 2), np.int64)
    first = Policy(axis, np.zeros((2, 2)), counts, counts)
    second = Policy(axis, np.array([[0.0, 0.25], [0.5, 1.0]]), counts, counts)
    heat = difference_map(first, second, 0.5, ()).data[0]
    assert np.array_equal(heat.z, second.alpha)
    assert (heat.zmin, heat.zmax) == (-1, 1)


def test_epochs_are_read_in_order_and_end_with_the_final_policy(workspace):
    folder = write_run(workspace)
    assert load_epochs(folder) is None
    write_epochs(folder, 6)
    epochs, policy = load_epochs(folder), load_policy(folder)
    assert list(epochs.epochs) == [1, 2, 3, 4, 5, 6]
    assert not epochs.at(0, policy).alpha.any()
    assert np.allclose(epochs.at(5, policy).alpha, policy.alpha)
    assert epochs.nearest(100) == 5


@pytest.mark.parametrize("number", [1, 7, 3 * PLAYED_EPOCHS])
def test_an_animation_has_first_and_last_epoch_and_not_too_many(policy, number):
    size = len(policy.axis)
    alpha = np.linspace(0, 1, number, dtype=np.float32)[:, None, None] * np.ones((size, size))
    epochs = PolicyEpochs(np.arange(1, number + 1, dtype=np.int32), alpha.astype(np.float32))
    figure = policy_animation(epochs, policy, 0.5)
    assert len(figure.frames) == min(number, PLAYED_EPOCHS)
    assert (figure.frames[0].name, figure.frames[-1].name) == ("1", str(number))
    assert figure.frames[-1].data[0].z[0][0] == alpha[-1][0][0]
    assert [s.label for s in figure.layout.sliders[0].steps] == [f.name for f in figure.frames]


def test_downloads_hold_the_policy(policy, tmp_path):
    (tmp_path / "p.npy").write_bytes(policy_npy(policy))
    assert np.array_equal(np.load(tmp_path / "p.npy"), policy.alpha)
    lines = policy_csv(policy).splitlines()
    assert lines[0] == "anomaly_score,gat_prob,alpha,windows,attacks,q_spread"
    assert len(lines) == 1 + policy.alpha.size
    page = policy_html(policy, 0.5, [])
    assert page.startswith("<!doctype html>")
    assert 'src="http' not in page
