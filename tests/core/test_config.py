import json
import math
from dataclasses import fields, is_dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import (
    FusionAgentConfig,
    FusionConfig,
    FusionTrainingConfig,
    create_fusion_config,
    override,
)
from core.errors import ConfigError


def test_a_dataset_and_sections_make_a_configuration():
    config = create_fusion_config("hcrl_sa", agent={"fusion_lr": 0.002}, training={"max_epochs": 3})
    assert config.data.dataset == "hcrl_sa"
    assert config.agent.fusion_lr == 0.002
    assert config.training.max_epochs == 3
    assert config.agent.gamma == FusionAgentConfig().gamma


def test_dotted_and_nested_names_mean_the_same():
    dotted = override(FusionConfig(), {"data.detector.window.size": 50, "data.dataset": "x"})
    nested = override(
        FusionConfig(), {"data": {"detector": {"window": {"size": 50}}, "dataset": "x"}}
    )
    assert dotted == nested
    assert dotted.data.detector.window.size == 50


def test_overriding_leaves_the_original_alone():
    before = FusionConfig()
    override(before, {"agent.gamma": 0.5})
    assert before == FusionConfig()


def test_json_and_back_is_the_same_configuration():
    config = create_fusion_config("x", agent={"hidden_dims": [8, 4]})
    assert override(FusionConfig(), json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agent": {"lr": 1}}, r"FusionAgentConfig has no setting 'lr'; it has .*fusion_lr"),
        ({"agent.gamma.x": 1}, "gamma has no settings of its own"),
        ({"agent.gamma": "0.5"}, "expected a value of type float, got '0.5'"),
        ({"agent.gamma": True}, "type float"),
        ({"agent.batch_size": 0}, "expected a value from 1 to 1048576, got 0"),
        ({"agent.batch_size": 2.0}, "type int"),
        ({"agent.double_q": 1}, "type bool"),
        ({"agent.hidden_dims": []}, "one or more values of type int"),
        ({"agent.hidden_dims": [8, 0]}, "a value from 1 to 4096"),
        ({"agent.update_mode": "both"}, "one of all_actions, sampled"),
        ({"agent": None}, "type FusionAgentConfig"),
    ],
)
def test_what_a_setting_cannot_mean_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        override(FusionConfig(), changes)


@given(st.sampled_from([math.nan, math.inf, -math.inf]))
def test_numbers_that_are_not_finite_are_refused(value):
    with pytest.raises(ConfigError, match="fusion_lr: expected a"):
        FusionAgentConfig(fusion_lr=value)


def test_whole_numbers_pass_as_float_but_not_the_other_way():
    assert type(FusionAgentConfig(gamma=0).gamma) is float
    with pytest.raises(ConfigError, match="max_epochs"):
        FusionTrainingConfig(max_epochs=1.0)


def test_every_setting_has_help_and_numbers_have_a_range():
    def settings(config):
        for f in fields(config):
            value = getattr(config, f.name)
            if is_dataclass(value):
                yield from settings(value)
            else:
                yield f, value

    for f, value in settings(FusionConfig()):
        assert f.metadata["help"], f.name
        if type(value) in (int, float):
            assert f.metadata["low"] <= value <= f.metadata["high"], f.name
