import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

import core
import train_fusion_lightning
import train_with_hydra_zen
from core.errors import CheckpointError
from core.jobs.registry import registry

ROOT = Path(__file__).parents[1]


def results_of(config):
    methods = {name: {"f1": 0.5} for name in ("vgae", "gat", "fusion")}
    scenario = {"methods": {**methods, "fusion": {"f1": config.agent.gamma}}}
    return {
        "dataset": config.data.dataset,
        "simulated": True,
        "validation": scenario,
        "scenarios": {"test_01": {"methods": {name: {"f1": None} for name in methods}}},
    }


@pytest.fixture
def calls(monkeypatch, workspace):
    """Stands in for the pipeline and records what the scripts ask of it."""
    seen = []

    def train_fusion(config, workspace, run_dir, reporter):
        seen.append(("fusion", config, workspace))
        reporter.progress("fusion", 0.5, "half")
        reporter.metrics("fusion", {"epoch": 0, "val_f1": 0.5})
        if config.training.seed == 13:
            raise CheckpointError("no checkpoint\nat x")
        workspace.agent(config.data.dataset).parent.mkdir(parents=True, exist_ok=True)
        workspace.agent(config.data.dataset).touch()
        (run_dir / "results.json").write_text(json.dumps(results_of(config)))

    pipeline = types.ModuleType("core.pipeline")
    pipeline.train_fusion = train_fusion
    pipeline.train_detectors = lambda data, workspace, reporter: seen.append(("detectors", data))
    pipeline.build_cache = lambda data, workspace, reporter: seen.append(("cache", data))
    monkeypatch.setitem(sys.modules, "core.pipeline", pipeline)
    monkeypatch.setattr(core, "pipeline", pipeline, raising=False)
    return seen


def test_options_of_the_standalone_script_reach_their_settings(calls, tmp_path):
    (tmp_path / "kia").mkdir()
    given = {name: str(tmp_path / name) for name in ("a.x", "c.x", "r.ckpt")}
    for path in given.values():
        Path(path).touch()
    code = train_fusion_lightning.main(
        [
            *("--dataset", str(tmp_path / "kia"), "--max-epochs", "3", "--batch-size", "64"),
            *("agent.gamma=0.5", "--lr", "0.002", "--autoencoder", given["a.x"]),
            *("--classifier", given["c.x"], "--resume-from", given["r.ckpt"]),
            *("--protocol", "zero-shot", "--device", "cpu"),
            *("--seed", "7", "data.detector.window.size=50"),
        ]
    )
    assert code == 0
    ((kind, config, _),) = calls
    assert kind == "fusion"
    assert config.data.dataset == str(tmp_path / "kia")
    assert (config.data.autoencoder, config.data.classifier) == (given["a.x"], given["c.x"])
    assert (config.training.max_epochs, config.training.resume_from) == (3, given["r.ckpt"])
    assert (config.agent.batch_size, config.agent.fusion_lr, config.agent.gamma) == (64, 0.002, 0.5)
    assert config.data.detector.protocol == "zero-shot"
    assert (config.data.detector.device, config.training.device) == ("cpu", "cpu")
    assert (config.data.detector.seed, config.training.seed) == (7, 7)
    assert config.data.detector.window.size == 50


def test_a_preset_with_changes(calls):
    code = train_with_hydra_zen.main(
        [*("--preset", "fusion_demo", "--epochs", "2", "--batch_size", "32"), "agent.tau=0.5"]
    )
    assert code == 0
    ((_, config, _),) = calls
    assert config.data.dataset == "demo"
    assert (config.training.max_epochs, config.agent.batch_size, config.agent.tau) == (2, 32, 0.5)


def test_options_mean_the_detectors_when_these_are_trained(calls):
    code = train_with_hydra_zen.main(
        [
            *("--training", "detectors", "--dataset", "demo", "--epochs", "2"),
            *("--batch_size", "32", "--learning_rate", "0.01"),
        ]
    )
    assert code == 0
    ((kind, data),) = calls
    assert kind == "detectors"
    detector = data.detector
    assert (detector.vgae.epochs, detector.gat.epochs, detector.batch_size) == (2, 2, 32)
    assert (detector.vgae.lr, detector.gat.lr) == (0.01, 0.01)


def test_a_run_is_listed_like_those_of_the_dashboard(calls, workspace, capsys):
    assert train_fusion_lightning.main(["--dataset", "demo"]) == 0
    (run,) = registry(workspace).runs()
    assert (run.kind, run.state, run.dataset) == ("fusion", "done", "demo")
    types_of_events = {event["type"] for event in registry(workspace).events(run.id)}
    assert {"progress", "metrics", "state"} <= types_of_events
    printed = capsys.readouterr()
    assert "demo (simulated)" in printed.out
    assert run.id in printed.out
    assert "fusion" in printed.err
    assert "half" in printed.err
    assert "half" not in printed.out


def test_what_the_pipeline_refuses_is_one_line_and_a_failed_run(calls, workspace, capsys):
    assert train_fusion_lightning.main(["--dataset", "demo", "--seed", "13"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: no checkpoint at x"
    (run,) = registry(workspace).runs()
    assert (run.state, run.error) == ("failed", "no checkpoint at x")


def test_an_unknown_data_set_says_how_to_get_it_and_starts_nothing(calls, workspace, capsys):
    assert train_with_hydra_zen.main(["--preset", "fusion_hcrl_sa"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "no data set 'hcrl_sa'" in message
    assert str(workspace.datasets / "hcrl_sa") in message
    assert "train_01_attack_free" in message
    assert "python -m core datasets hcrl_sa --import FOLDER" in message
    assert calls == []
    assert registry(workspace).runs() == []


def test_a_sweep_makes_the_cache_once_and_keeps_the_jobs_outputs_apart(calls, workspace, capsys):
    code = train_with_hydra_zen.main(
        [*("--preset", "fusion_demo", "--multirun", "--jobs", "1"), "agent.gamma=0.25,0.5"]
    )
    assert code == 0
    assert [call[0] for call in calls] == ["cache", "fusion", "fusion"]
    assert [call[1].agent.gamma for call in calls[1:]] == [0.25, 0.5]
    first, second = (call[2] for call in calls[1:])
    for path in ("agent", "policy", "checkpoints"):
        assert getattr(first, path)("demo") != getattr(second, path)("demo")
        assert getattr(first, path)("demo").is_relative_to(workspace.root / "multirun")
    assert first.logs != second.logs
    assert first.prediction_cache("demo", "p") == workspace.prediction_cache("demo", "p")
    assert first.agent("demo").is_file()
    out = capsys.readouterr().out
    assert "job 0: agent.gamma=0.25: validation f1 0.25" in out
    assert "job 1: agent.gamma=0.5: validation f1 0.5" in out
    assert len(registry(workspace).runs()) == 2


def test_a_sweep_over_the_detectors_shares_no_cache(calls):
    code = train_with_hydra_zen.main(
        ["--preset", "fusion_demo", "--multirun", "data.detector.window.size=50,100"]
    )
    assert code == 0
    assert [call[0] for call in calls] == ["fusion", "fusion"]


def test_a_failed_job_of_a_sweep_leaves_the_others(calls, capsys):
    code = train_with_hydra_zen.main(
        [*("--preset", "fusion_demo", "--multirun", "--jobs", "1"), "training.seed=13,1"]
    )
    assert code == 2
    printed = capsys.readouterr()
    assert "job 0: training.seed=13: no checkpoint" in printed.out
    assert "job 1: training.seed=1: validation f1" in printed.out
    assert printed.err.splitlines()[-1] == (
        "error: 1 of 2 jobs failed, the first: no checkpoint at x"
    )


def test_presets_are_listed(capsys):
    assert train_with_hydra_zen.main(["--list-presets"]) == 0
    assert "fusion_hcrl_sa" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("fusion", [], "required: --dataset"),
        ("fusion", ["--dataset", "demo", "--lr", "fast"], "--lr: invalid float"),
        ("fusion", ["--dataset", "demo", "--lr", "nan"], "a finite number"),
        ("fusion", ["--dataset", "demo", "--max-epochs", "0"], "from 1 to 100000, got 0"),
        ("fusion", ["--dataset", "demo", "--device", "tpu"], "invalid choice: 'tpu'"),
        ("fusion", ["--dataset", "demo", "agent.x=1"], "no setting 'x'; it has"),
        ("fusion", ["--dataset", "demo", "agent.gamma=0,1"], "needs --multirun"),
        ("fusion", ["--dataset", "demo", "--resume-from", "x.ckpt"], "no checkpoint at x.ckpt"),
        ("fusion", ["--dataset", "demo", "--autoencoder", "."], "no checkpoint at ."),
        ("fusion", ["--dataset", "demo", "--bogus"], "unrecognized arguments: --bogus"),
        ("zen", [], "one of the arguments --preset"),
        ("zen", ["--preset", "nothing"], "there are fusion_demo"),
        ("zen", ["--preset", "fusion_demo", "--list-presets"], "not allowed with"),
        ("zen", ["--training", "fusion"], "expected --dataset NAME with --training"),
        ("zen", ["--training", "detectors", "--dataset", "demo", "--multirun"], "fusion training"),
        ("zen", ["--preset", "fusion_demo", "--multirun", "--jobs", "0"], "at least 1, got 0"),
        ("zen", ["--preset", "fusion_demo", "--multirun", "agent.gamma=0,9"], "gamma"),
    ],
)
def test_wrong_command_lines_are_one_line_and_exit_code_2(
    calls, capsys, script, arguments, message
):
    main = {"fusion": train_fusion_lightning.main, "zen": train_with_hydra_zen.main}[script]
    try:
        code = main(arguments)
    except SystemExit as error:  # argparse leaves this way.
        code = error.code
    printed = capsys.readouterr()
    assert code == 2
    assert message in printed.err
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert calls == []


@pytest.mark.parametrize("script", ["train_fusion_lightning.py", "train_with_hydra_zen.py"])
def test_help_is_quick_and_works_from_anywhere(script, tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / script, "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert "SETTING=VALUE" in done.stdout
    assert done.stderr == ""
