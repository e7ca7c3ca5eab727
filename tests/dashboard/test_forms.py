import pytest

from core.config import FusionConfig, override
from core.errors import ConfigError
from dashboard.forms import ELSEWHERE, MAIN, numbers, settings_of


def test_every_setting_is_offered_or_named_as_being_elsewhere():
    offered = {setting.name for setting in settings_of(FusionConfig())}
    assert {name for names in MAIN.values() for name in names} <= offered
    assert not offered & ELSEWHERE
    assert {"agent.gamma", "evaluation.threshold", "data.detector.gat.heads"} <= offered


def test_the_defaults_of_the_form_are_the_defaults_of_the_configuration():
    changes = {s.name: s.value for s in settings_of(FusionConfig())}
    assert override(FusionConfig(), changes) == FusionConfig()


def test_labels_say_whose_setting_it_is():
    labels = {s.name: s.label for s in settings_of(FusionConfig())}
    assert labels["data.detector.vgae.epochs"] == "VGAE epochs"
    assert labels["training.max_epochs"] == "Max epochs"


def test_lists_of_numbers():
    assert numbers("64, 32", "agent.hidden_dims") == (64, 32)
    with pytest.raises(ConfigError, match=r"agent\.hidden_dims"):
        numbers("64, many", "agent.hidden_dims")
