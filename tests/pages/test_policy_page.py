"""The policy page: epochs, two runs side by side, one window."""

import json
import shutil

import pytest
import torch

from core.cli import explain
from core.config import FusionAgentConfig, FusionEvaluationConfig
from core.errors import CheckpointError
from core.fusion.agent import FusionAgent
from core.fusion.q_network import QNetwork
from core.fusion.state import StateEncoder
from dashboard import window_data
from tests.dashboard.run_folders import RUN_ID, write_capture, write_epochs, write_run
from tests.pages.test_pages import said

OTHER = "20260303-120000-cafe"
CAPTURE = "test_01_known_vehicle_known_attack/DoS-1.csv"


def one(app, name):
    value = app.query_params[name]
    return value if isinstance(value, str) else value[0]


def metrics(app):
    return {metric.label: metric.value for metric in app.metric}


def test_without_epochs_the_page_says_what_to_do(open_page, workspace):
    write_run(workspace)
    app = open_page("policy", when="After an epoch")
    assert not app.exception
    assert "did not keep its policy of each epoch" in said(app)


def test_an_epoch_is_part_of_the_address_and_changes_alpha(open_page, workspace):
    write_epochs(write_run(workspace), 6)
    app = open_page("policy", when="After an epoch", epoch="1", anomaly="0.1", gat="0.9")
    assert not app.exception
    assert metrics(app)["Alpha"] == "0.00"
    app.slider(key="epoch").set_value(6).run()
    assert metrics(app)["Alpha"] == "1.00"
    assert one(app, "epoch") == "6"


def test_an_epoch_that_never_was_is_brought_into_range(open_page, workspace):
    write_epochs(write_run(workspace), 6)
    app = open_page("policy", when="After an epoch", epoch="900")
    assert not app.exception
    assert app.slider(key="epoch").value == 6


def test_epochs_can_be_played(open_page, workspace):
    write_epochs(write_run(workspace), 6)
    app = open_page("policy", when="All epochs, played")
    assert not app.exception
    assert not app.error


def test_torn_epochs_are_an_error_in_words(open_page, workspace):
    (write_run(workspace) / "policy_epochs.arrow").write_bytes(b"junk")
    app = open_page("policy", when="After an epoch")
    assert not app.exception
    assert "cannot be read as an Arrow file" in app.error[0].value


def write_agent(run_dir):
    """An agent that trusts the GAT in windows longer than a second, and no others."""
    names = see(run_dir, "anomaly", "gat_prob", "duration")
    network = QNetwork(3, 2, (1,))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.linear[0].weight[0, 2] = 1.0  # 2 * state - 1: above 0 beyond the median.
        network.linear[1].weight[1, 0] = 1.0
        network.linear[1].bias[0] = 0.01
    encoder = StateEncoder(names, (0.0, 0.0, 1.0), (0.0, 0.0, 0.2), (0.5, 0.5, 1.0))
    settings = FusionAgentConfig(state=names, alpha_steps=2, hidden_dims=(1,))
    agent = FusionAgent(network, settings, FusionEvaluationConfig(), {}, encoder)
    agent.save(run_dir / "agent.pth")


def see(run_dir, *names):
    """Make it a run whose agent sees these features."""
    config = json.loads((run_dir / "config.json").read_text())
    config["agent"]["state"] = names
    (run_dir / "config.json").write_text(json.dumps(config))
    return names


def test_a_map_of_more_features_is_cut_where_the_slider_stands(open_page, workspace):
    write_agent(write_run(workspace))
    app = open_page("policy")
    assert not app.exception
    assert app.slider(key="at_duration").value == 1.0
    assert metrics(app)["Alpha"] == "0.00"
    app.slider(key="at_duration").set_value(1.3).run()
    assert not app.exception
    assert metrics(app)["Alpha"] == "1.00"
    app = open_page("policy", at_duration="1.5")
    assert metrics(app)["Alpha"] == "1.00"
    app = open_page("policy", at_duration="99")
    assert app.slider(key="at_duration").value == pytest.approx(1.6)


def test_a_map_of_both_scores_is_not_cut_and_its_agent_not_read(open_page, workspace):
    (write_run(workspace) / "agent.pth").write_bytes(b"junk")
    app = open_page("policy")
    assert not app.exception
    assert not app.error
    assert [slider.key for slider in app.slider] == ["anomaly", "gat"]


def test_without_its_agent_a_map_of_more_features_says_why_it_is_not_cut(open_page, workspace):
    see(write_run(workspace), "anomaly", "gat_prob", "duration")
    app = open_page("policy")
    assert not app.exception
    assert "did not keep its agent" in said(app)


def test_a_torn_agent_is_an_error_in_words(open_page, workspace):
    folder = write_run(workspace)
    see(folder, "anomaly", "gat_prob", "duration")
    (folder / "agent.pth").write_bytes(b"junk")
    app = open_page("policy")
    assert not app.exception
    assert "no readable checkpoint" in app.error[0].value


def test_two_runs_lie_side_by_side(open_page, workspace):
    write_run(workspace)
    write_run(workspace, OTHER, seed=1)
    app = open_page("policy", run=RUN_ID)
    app.selectbox(key="other_picker").select(OTHER).run()
    assert not app.exception
    assert one(app, "other") == OTHER
    assert "alpha differs by 0.000 on average" in said(app)


def test_another_run_that_is_gone_is_said_to_be(open_page, workspace):
    write_run(workspace)
    write_run(workspace, OTHER)
    app = open_page("policy", run=RUN_ID, other="20200101-000000-dead")
    assert not app.exception
    assert "There is no other run" in said(app)


def test_a_window_in_the_address_is_shown_and_its_neighbours_reached(open_page, workspace):
    write_run(workspace)
    app = open_page("policy", window=f"{CAPTURE}@3")
    assert not app.exception
    assert "**Window 3** of" in said(app)
    assert {"Anomaly score", "GAT probability", "Truth", "Verdict"} <= set(metrics(app))
    app.button(key="window-next").click().run()
    assert one(app, "window") == f"{CAPTURE}@4"
    app.button(key="window-close").click().run()
    assert "window" not in app.query_params


def test_the_verdict_on_a_window_adds_up(open_page, workspace):
    write_run(workspace)
    app = open_page("policy", window=f"{CAPTURE}@149")
    shown = metrics(app)
    anomaly, gat, alpha = (float(shown[n]) for n in ("Anomaly score", "GAT probability", "Alpha"))
    fused = (1 - alpha) * anomaly + alpha * gat
    assert float(shown["Fused score"]) == pytest.approx(fused, abs=2e-3)


@pytest.mark.parametrize(
    "window", [f"{CAPTURE}@99999", "no/such.csv@1", "<script>alert(1)</script>@3"]
)
def test_a_window_that_is_not_there_is_said_to_be_missing(open_page, workspace, window):
    write_run(workspace)
    app = open_page("policy", window=window)
    assert not app.exception
    assert "This run scored no window" in said(app)


@pytest.mark.parametrize("window", ["x", "@", "a@b", "a@-1", "a@1e3", "a@²"])
def test_nonsense_is_no_window(open_page, workspace, window):
    write_run(workspace)
    app = open_page("policy", window=window)
    assert not app.exception
    assert "Choose a row of the table" in said(app)


def test_the_frames_of_a_window_are_shown_attacked_ones_marked(open_page, workspace):
    write_run(workspace)
    write_capture(workspace, CAPTURE, 5, range(301, 303))
    app = open_page("policy", window=f"{CAPTURE}@3", part="Frames")
    assert not app.exception
    assert "100 frames, 2 of them attacked" in said(app)
    app = open_page("policy", window=f"{CAPTURE}@3", part="Graph")
    assert not app.exception
    assert "5 ids and 5 different transitions; attacked: 0x101, 0x102" in said(app)


@pytest.mark.parametrize("part", ["Frames", "Graph", "Why"])
def test_a_capture_that_is_gone_is_an_error_in_words(open_page, workspace, part):
    write_run(workspace)
    app = open_page("policy", window=f"{CAPTURE}@3", part=part)
    assert not app.exception
    assert "no longer in the data set" in app.error[0].value


def test_why_tells_ids_and_reasons(open_page, workspace, monkeypatch):
    write_run(workspace)
    write_capture(workspace, CAPTURE, 5)
    asked = []

    def explain_capture(dataset, capture, protocol, workspace, **rest):
        asked.append((dataset, capture, protocol, rest["windows"]))
        row = {
            "arbitration_id": "0x100",
            "present": True,
            "contribution": 0.75,
            "profile": 0.5,
            "vgae": 0.25,
            "gat": 0.0,
            "reasons": "sends more often than usual",
        }
        window = {"window": 3, "anomaly_score": 0.99, "gat_prob": 0.99, "ids": [row]}
        return {"windows": [window], "warnings": ["<b>trained</b> on it"]}

    monkeypatch.setattr(window_data, "_one_thread", lambda: None)
    monkeypatch.setattr(explain, "explain_capture", explain_capture)
    app = open_page("policy", window=f"{CAPTURE}@3", part="Why")
    assert not app.exception
    assert asked == [("demo", CAPTURE, "commissioned", [3])]
    (table,) = (f.value for f in app.dataframe if "Why" in f.value.columns)
    assert table["Why"].tolist() == ["sends more often than usual"]
    assert "not those that scored this window" in said(app)
    assert "<b>" not in said(app)


def test_missing_detectors_are_an_error_in_words(open_page, workspace, monkeypatch):
    write_run(workspace)
    write_capture(workspace, CAPTURE, 5)

    def explain_capture(*args, **rest):
        raise CheckpointError("no detectors trained on demo")

    monkeypatch.setattr(window_data, "_one_thread", lambda: None)
    monkeypatch.setattr(explain, "explain_capture", explain_capture)
    app = open_page("policy", window=f"{CAPTURE}@3", part="Why")
    assert not app.exception
    assert "no detectors trained on demo" in app.error[0].value


def test_a_run_deleted_in_another_tab_is_said_to_be_gone(open_page, workspace):
    folder = write_run(workspace)
    app = open_page("policy", run=RUN_ID)
    shutil.rmtree(folder)
    app.run()
    assert not app.exception
    assert "There is no run" in app.error[0].value
