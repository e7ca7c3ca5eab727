import sys
import threading
import types

import pytest

from core.jobs import tasks
from core.jobs.registry import registry
from core.jobs.run import FAILED
from dashboard.forms import OTHERS
from tests.dashboard.run_folders import RUN_ID, write_run

PAGES = ("home", "datasets", "training", "policy", "comparison")


def said(app):
    """All words on a page that are not in tables or charts."""
    kinds = (app.title, app.markdown, app.caption, app.info, app.warning, app.error, app.success)
    return "\n".join(element.value for kind in kinds for element in kind)


def run_in_address(app):
    value = app.query_params["run"]
    return value if isinstance(value, str) else value[0]


@pytest.fixture
def pipeline(monkeypatch):
    """A pipeline that waits until it is let go or stopped."""
    go = threading.Event()

    def train_fusion(config, workspace, run_dir, reporter):
        reporter.metrics("fusion", {"epoch": 0, "train_reward": 0.5, "val_reward": 0.4})
        reporter.progress("fusion", 0.5, "epoch 1 of 2")
        reporter.log(f"max epochs {config.training.max_epochs}")
        while not go.wait(0.01):
            reporter.check()

    fake = types.ModuleType("core.pipeline")
    fake.train_fusion = train_fusion
    fake.train_detectors = lambda config, workspace, reporter: None
    fake.build_cache = lambda config, workspace, reporter: None
    monkeypatch.setitem(sys.modules, "core.pipeline", fake)
    monkeypatch.setattr(tasks, "_cap_threads", lambda: None)
    monkeypatch.setattr("core.captures.catalogue.build_catalogue", lambda *_: None)
    yield go
    go.set()


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_in_an_empty_workspace_and_says_what_to_do(open_page, page):
    app = open_page(page)
    assert not app.exception
    assert not app.error
    hints = {
        "home": "No results yet. Run the demo",
        "datasets": "Not on disk yet",
        "training": "No runs yet. Start one below",
        "policy": "No finished fusion run yet",
        "comparison": "No finished fusion run yet",
    }
    assert hints[page] in said(app)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_with_a_finished_run(open_page, workspace, page):
    write_run(workspace)
    app = open_page(page)
    assert not app.exception
    assert not app.error


@pytest.mark.parametrize("page", ["training", "policy", "comparison"])
def test_simulated_results_are_labelled_and_the_run_is_in_the_address(open_page, workspace, page):
    write_run(workspace)
    app = open_page(page)
    assert run_in_address(app) == RUN_ID
    assert "simulated data" in said(app)


@pytest.mark.parametrize("page", ["training", "policy", "comparison"])
def test_an_unknown_run_is_said_to_be_missing_and_no_other_is_shown(open_page, workspace, page):
    write_run(workspace)
    app = open_page(page, run="20200101-000000-dead")
    assert not app.exception
    assert "There is no run" in app.error[0].value
    assert "dead" in app.error[0].value
    assert app.selectbox(key="run_picker").value is None
    app.selectbox(key="run_picker").select(RUN_ID).run()
    assert not app.error
    assert run_in_address(app) == RUN_ID


@pytest.mark.parametrize("run_id", ["../..", "<script>alert(1)</script>", "a\nb", "`x`"])
def test_a_hostile_run_id_is_only_words(open_page, workspace, run_id):
    app = open_page("policy", run=run_id)
    assert not app.exception
    assert "There is no run" in app.error[0].value


@pytest.mark.parametrize("page", ["policy", "comparison"])
def test_a_failed_run_says_why_it_has_no_results(open_page, workspace, page):
    write_run(workspace, state=FAILED, error="no captures there", results=False)
    app = open_page(page, run=RUN_ID)
    assert not app.exception
    assert "no captures there" in said(app)


@pytest.mark.parametrize("name", ["results.json", "predictions.arrow", "policy_map.arrow"])
@pytest.mark.parametrize("page", ["home", "policy", "comparison"])
def test_a_corrupt_file_is_an_error_in_words(open_page, workspace, page, name):
    (write_run(workspace) / name).write_bytes(b"\x00junk")
    app = open_page(page)
    assert not app.exception
    read = {
        "home": ["results.json"],
        "policy": ["results.json", "predictions.arrow", "policy_map.arrow"],
        "comparison": ["results.json", "predictions.arrow"],
    }
    assert bool(app.error) == (name in read[page])


def test_the_demo_button_starts_the_demo_and_opens_it(open_page, workspace, pipeline):
    app = open_page("home")
    app.button[0].click().run()
    (run,) = registry(workspace).runs()
    assert run.kind == "demo"
    assert run_in_address(app) == run.id
    assert app.title[0].value == "Training"
    second = open_page("home")
    second.button[0].click().run()
    assert len(registry(workspace).runs()) == 1


def test_a_running_run_is_watched_paused_resumed_and_stopped(open_page, workspace, pipeline):
    open_page("home").button[0].click().run()
    jobs = registry(workspace)
    (run,) = jobs.runs()
    app = open_page("training", run=run.id)
    assert "running" in said(app)
    app.button(key=f"pause-{run.id}").click().run()
    assert jobs.get(run.id).state == "paused"
    app.button(key=f"resume-{run.id}").click().run()
    assert jobs.get(run.id).state == "running"
    app.button(key=f"stop-{run.id}").click().run()
    assert jobs.wait(run.id, 60).state == "stopped"
    assert not app.exception


def test_a_second_tab_finds_the_running_run_on_the_home_page(open_page, workspace, pipeline):
    open_page("home").button[0].click().run()
    app = open_page("home")
    assert "Demo, end to end" in said(app)
    assert "Nothing is running" not in said(app)


def test_the_form_starts_fusion_with_the_settings_chosen(open_page, workspace, pipeline):
    pipeline.set()
    app = open_page("training")
    app.number_input(key="setting-training.max_epochs").set_value(3)
    app.number_input(key="setting-data.detector.gat.epochs").set_value(2)
    next(b for b in app.button if b.label == "Train fusion").click().run()
    (run,) = registry(workspace).runs()
    config = run.params["config"]
    assert run.kind == "fusion"
    assert config["training"]["max_epochs"] == 3
    assert config["data"]["detector"]["gat"]["epochs"] == 2
    assert run_in_address(app) == run.id


def test_a_setting_that_cannot_be_is_an_error_and_starts_nothing(open_page, workspace, pipeline):
    app = open_page("training")
    app.session_state[OTHERS] = True  # As a press on the closed part of the form does.
    app.run()
    app.text_input(key="setting-agent.hidden_dims").set_value("64, many")
    next(b for b in app.button if b.label == "Train fusion").click().run()
    assert "hidden_dims" in app.error[0].value
    assert registry(workspace).runs() == []


def test_the_log_is_shown_when_asked_for(open_page, workspace):
    write_run(workspace)
    app = open_page("training")
    app.segmented_control(key="live_view").set_value("Log").run()
    assert "agent saved" in app.text[0].value


def test_what_if_moves_the_verdict_and_lists_the_windows(open_page, workspace):
    write_run(workspace)
    app = open_page("policy")
    verdicts = set()
    for score in (0.05, 0.95):
        app.slider(key="anomaly").set_value(score)
        app.slider(key="gat").set_value(score).run()
        verdicts.add(app.metric[2].value)
    assert verdicts == {"attack", "benign"}
    assert any("Anomaly" in frame.value.columns for frame in app.dataframe)


def test_the_comparison_follows_scenario_capture_and_metric(open_page, workspace):
    write_run(workspace)
    app = open_page("comparison")
    assert app.selectbox(key="scenario").value == "test_01_known_vehicle_known_attack"
    app.selectbox(key="scenario").select("test_02_without_attacks").run()
    assert set(app.dataframe[0].value["F1"]) == {"–"}
    assert not app.exception


def test_an_import_of_no_folder_is_an_error_in_words(open_page, workspace):
    app = open_page("datasets")
    folder = next(t for t in app.text_input if t.label == "Folder on this machine")
    folder.set_value("/no/such/folder")
    next(b for b in app.button if b.label == "Import").click().run()
    assert "there is no folder" in app.error[0].value
    assert registry(workspace).runs() == []


def test_building_a_cache_opens_its_run(open_page, workspace, pipeline):
    app = open_page("datasets")
    app.button(key="build-zero-shot").click().run()
    (run,) = registry(workspace).runs()
    assert (run.kind, run.params["protocol"]) == ("cache", "zero-shot")
    assert app.title[0].value == "Training"


def test_pages_do_not_load_torch(open_page, workspace):
    import subprocess

    code = (
        "import sys; from pathlib import Path\n"
        "app_file = Path('dashboard/app.py').resolve()\n"
        "from streamlit.testing.v1 import AppTest\n"
        "for page in ('home', 'datasets', 'training', 'policy', 'comparison'):\n"
        "    app = AppTest.from_file(app_file, default_timeout=20)\n"
        "    app.switch_page(f'../pages/{page}.py').run()\n"
        "    assert not app.exception\n"
        "assert 'torch' not in sys.modules and 'sklearn' not in sys.modules\n"
    )
    write_run(workspace)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
