import dataclasses
import os
import sys
import types

import joblib
import pytest
from joblib.parallel import ThreadingBackend

from core.config import FusionConfig, create_fusion_config
from core.errors import ConfigError
from core.presets import (
    apply_overrides,
    check_launcher,
    expand_sweep,
    launcher_options,
    list_presets,
    preset,
    run_sweep,
    swept,
)


def test_every_preset_resolves_to_its_data_set():
    assert {
        *("fusion_hcrl_ch", "fusion_hcrl_sa", "fusion_demo"),
        *("fusion_set_01", "fusion_set_02", "fusion_set_03", "fusion_set_04"),
    } == set(list_presets())
    for name in list_presets():
        assert preset(name) == create_fusion_config(name.removeprefix("fusion_"))


def test_an_unknown_preset_lists_the_valid_ones():
    with pytest.raises(ConfigError, match=r"no preset 'fusion_x'; there are .*fusion_hcrl_sa"):
        preset("fusion_x")


@pytest.mark.parametrize(
    ("text", "section", "name", "value"),
    [
        ("agent.fusion_lr=0.002", "agent", "fusion_lr", 0.002),
        ("agent.fusion_lr=1", "agent", "fusion_lr", 1.0),
        ("agent.hidden_dims=[32,16]", "agent", "hidden_dims", (32, 16)),
        ("agent.double_q=false", "agent", "double_q", False),
        ("agent={gamma:0.5}", "agent", "gamma", 0.5),
        ("data.dataset='123'", "data", "dataset", "123"),
        ("data.dataset=../captures/kia", "data", "dataset", "../captures/kia"),
        ("data.autoencoder=", "data", "autoencoder", ""),
    ],
)
def test_overrides_reach_their_setting_with_its_type(text, section, name, value):
    config = apply_overrides(FusionConfig(), [text])
    got = getattr(getattr(config, section), name)
    assert got == value
    assert type(got) is type(value)


def test_deep_overrides_and_several_in_one_section():
    config = apply_overrides(
        FusionConfig(), ["data.detector.window.size=50", "data.detector.seed=7", "data.dataset=x"]
    )
    assert config.data.detector.window.size == 50
    assert (config.data.detector.seed, config.data.dataset) == (7, "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("agent.lr=0.1", r"no setting 'lr'; it has .*fusion_lr"),
        ("agnet.gamma=0", "no setting 'agnet'; it has agent, data, evaluation, training"),
        ("agent.gamma.x=0", "no settings of its own"),
        ("agent.gamma=high", "gamma: expected a value of type float, got 'high'"),
        ("agent.gamma=2", "gamma: expected a value from 0.0 to 0.9999, got 2.0"),
        ("training.max_epochs=1.5", "type int"),
        ("training.device=tpu", "one of auto, cpu, cuda"),
        ("agent=3", "type FusionAgentConfig"),
        ("agent.gamma", "SETTING=VALUE"),
        ("=3", "SETTING=VALUE"),
        ("agent.gamma=[1", "SETTING=VALUE"),
        ("+agent.gamma=0.5", "neither added nor removed"),
        ("~agent.gamma", "neither added nor removed"),
        ("agent.gamma=0,0.5", "needs --multirun"),
    ],
)
def test_bad_overrides_are_refused_in_one_line(text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        apply_overrides(FusionConfig(), [text])
    assert "\n" not in str(caught.value)


def test_a_sweep_is_every_combination_in_order():
    overrides = ["agent.gamma=0,0.5", "training.seed=range(0,3)", "training.max_epochs=2"]
    configs = expand_sweep(FusionConfig(), overrides)
    assert [(c.agent.gamma, c.training.seed) for c in configs] == [
        (g, s) for g in (0.0, 0.5) for s in (0, 1, 2)
    ]
    assert {c.training.max_epochs for c in configs} == {2}
    assert swept(overrides) == ["agent.gamma", "training.seed"]


def test_options_of_the_launcher_are_no_settings():
    overrides = ["hydra.launcher.partition=gpu", "agent.gamma=0,0.5"]
    assert launcher_options(overrides) == (["agent.gamma=0,0.5"], ["hydra.launcher.partition=gpu"])
    assert swept(overrides) == ["agent.gamma"]
    assert len(expand_sweep(FusionConfig(), overrides)) == 2


def test_a_launcher_that_is_not_there_is_refused_with_the_way_to_get_it(monkeypatch):
    with pytest.raises(ConfigError, match="no launcher 'k8s'; there are joblib, slurm"):
        check_launcher("k8s")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for launcher, extra in (("slurm", "slurm"), ("submitit-local", "submitit")):
        with pytest.raises(ConfigError, match=rf"not installed; expected .*'\.\[{extra}\]'"):
            check_launcher(launcher)


def ray_of_threads(addresses):
    """Stands in for Ray, which is not among the requirements: its back end is one of threads."""

    def init(address, **options):
        addresses.append(address)
        if address == "nowhere":
            raise ConnectionError("nobody answers")

    def register_ray():
        joblib.register_parallel_backend("ray", ThreadingBackend)

    ray, util, back_end = (types.ModuleType(n) for n in ("ray", "ray.util", "ray.util.joblib"))
    ray.init, back_end.register_ray = init, register_ray
    return {module.__name__: module for module in (ray, util, back_end)}


def test_jobs_go_to_ray_by_its_joblib_back_end(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    addresses = []
    for name, module in ray_of_threads(addresses).items():
        monkeypatch.setitem(sys.modules, name, module)
    config = create_fusion_config("x")
    results = run_sweep(config, ["agent.gamma=0"], where, tmp_path, 1, "ray")
    assert [(process, found) for process, _, found in results] == [(os.getpid(), config)]
    monkeypatch.setenv("RAY_ADDRESS", "nowhere")
    with pytest.raises(ConfigError, match=r"no cluster at nowhere \(nobody answers\)"):
        check_launcher("ray")  # Which is asked before anything is computed.
    assert addresses == ["auto", "nowhere"]


def test_ray_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "ray" else object()
    )
    with pytest.raises(ConfigError, match=r"ray is not installed; expected .*'\.\[ray\]'"):
        check_launcher("ray")


def test_slurm_needs_a_cluster(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ConfigError, match="no srun"):
        check_launcher("slurm")


@pytest.mark.slow
def test_jobs_are_submitted_as_a_cluster_would(tmp_path):
    pytest.importorskip("submitit")
    config = create_fusion_config("x")
    overrides = ["agent.gamma=0,0.5", "hydra.launcher.timeout_min=5"]
    results = run_sweep(config, overrides, where, tmp_path, 2, "submitit-local")
    assert [found.agent.gamma for *_, found in results] == [0.0, 0.5]
    assert len({process for process, *_ in results} | {os.getpid()}) == 3
    with pytest.raises(ConfigError, match=r"launcher submitit-local: Could not override"):
        run_sweep(config, ["hydra.launcher.bogus=5"], where, tmp_path, 2, "submitit-local")


def test_one_bad_value_refuses_the_whole_sweep():
    with pytest.raises(ConfigError, match="gamma"):
        expand_sweep(FusionConfig(), ["agent.gamma=0,7"])


def where(config: FusionConfig, number: int) -> tuple[int, int, FusionConfig]:
    return os.getpid(), number, config


@pytest.mark.parametrize("parallel", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_hydra_runs_the_task_for_every_combination(tmp_path, capfd, parallel):
    config = create_fusion_config("it's a set", agent={"hidden_dims": (8, 4)})
    overrides = ["agent.gamma=0,0.5", "evaluation={threshold:0.4}"]
    folder = tmp_path / "it's here"
    results = run_sweep(config, overrides, where, folder, parallel)
    assert [number for _, number, _ in results] == [0, 1]
    assert [found for *_, found in results] == expand_sweep(config, overrides)
    assert all(dataclasses.is_dataclass(found) for *_, found in results)
    assert (folder / "1" / ".hydra" / "overrides.yaml").is_file()
    assert all((process == os.getpid()) == (parallel == 1) for process, *_ in results)
    assert capfd.readouterr().out == ""
