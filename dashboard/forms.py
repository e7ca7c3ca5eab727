"""Form fields made from the configuration classes: types, ranges, choices and help."""

import dataclasses
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import streamlit as st

from core.config import FusionConfig, Settings
from core.errors import ConfigError

MAIN = {
    "Fusion": (
        "training.max_epochs",
        "training.updates_per_epoch",
        "training.patience",
        "agent.fusion_lr",
        "agent.miss_cost",
        "agent.false_alarm_cost",
    ),
    "Detectors": (
        "data.detector.vgae.epochs",
        "data.detector.gat.epochs",
        "data.detector.folds",
        "data.detector.window.size",
        "data.detector.window.stride",
        "data.detector.profile_windows",
    ),
}
"""Group -> settings that are shown first, by dotted name."""

SECTIONS = {
    "agent": "Agent",
    "data.detector.window": "Windows",
    "data.detector.vgae": "VGAE",
    "data.detector.gat": "GAT",
    "data.detector": "Training of detectors, cross-fitting",
    "data": "Data for fusion",
    "training": "Training of fusion",
    "evaluation": "Evaluation",
}
"""Part of the configuration -> what it is called above its other settings."""

ELSEWHERE = frozenset(
    # Chosen beside the form, or files on the server that only a command line should name.
    (
        "data.dataset",
        "data.detector.protocol",
        "data.autoencoder",
        "data.classifier",
        "training.resume_from",
        # Names code to run, which nobody should from a browser.
        "agent.reward_function",
    )
)


KEY = "setting-"
"""Begins the key of every field."""
OTHERS, OPENED = "other-settings", "other-settings-opened"
"""Key of the closed part of the form, and of whether it has been opened."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting with its default and the values it may take."""

    name: str
    """Dotted, from the root of the configuration."""
    value: Any
    help: str
    low: float | None
    high: float | None
    choices: tuple[str, ...] | None

    @property
    def owner(self) -> str:
        """The part of the configuration that it belongs to: ``data.detector.vgae``."""
        return self.name.rpartition(".")[0]

    @property
    def label(self) -> str:
        """``data.detector.vgae.epochs`` as ``VGAE epochs``."""
        parts = self.name.split(".")
        owner = {"vgae": "VGAE ", "gat": "GAT ", "window": "Window "}.get(parts[-2], "")
        words = parts[-1].replace("fusion_lr", "learning rate").replace("_", " ")
        return owner + words if owner else words[:1].upper() + words[1:]


def settings_of(config: Settings, prefix: str = "") -> Iterator[Setting]:
    """All settings of a configuration, depth first."""
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        name, value = prefix + field.name, getattr(config, field.name)
        if isinstance(value, Settings):
            yield from settings_of(value, f"{name}.")
        elif name not in ELSEWHERE:
            meta = field.metadata
            yield Setting(name, value, meta["help"], meta["low"], meta["high"], meta["choices"])


def settings_form(config: FusionConfig) -> dict[str, Any]:
    """Draw the main settings, and the others once they are asked for.

    Returns:
        Dotted name -> value chosen, of those drawn: some fifty fields that nobody looks at would
        take longer than the rest of the page.
    """
    known = {setting.name: setting for setting in settings_of(config)}
    chosen: dict[str, Any] = {}
    for group, names in MAIN.items():
        st.markdown(f"**{group}**")
        with st.grid(3):
            for name in names:
                chosen[name] = ask(known.pop(name))
    others = st.expander("All other settings", key=OTHERS, on_change="rerun")
    # Once opened they stay: a field that is not drawn would forget what was typed into it.
    if others.open or st.session_state.get(OPENED):
        st.session_state[OPENED] = True
        with others:
            for owner, settings in groupby(known.values(), lambda setting: setting.owner):
                st.markdown(f"**{SECTIONS[owner]}**")
                with st.grid(3):
                    for setting in settings:
                        chosen[setting.name] = ask(setting)
    return chosen


def forget_settings() -> None:
    """Let all fields begin with the values that they are given next."""
    for key in [key for key in st.session_state if str(key).startswith(KEY)]:
        del st.session_state[key]


def ask(setting: Setting) -> Any:
    """The widget that fits a setting's type; returns what was chosen."""
    label, key, help = setting.label, KEY + setting.name, setting.help
    if setting.choices:
        index = setting.choices.index(setting.value)
        return st.selectbox(label, setting.choices, index=index, key=key, help=help)
    if isinstance(setting.value, bool):
        return st.toggle(label, setting.value, key=key, help=help)
    if isinstance(setting.value, int):
        low, high = (None if v is None else int(v) for v in (setting.low, setting.high))
        return st.number_input(label, low, high, setting.value, step=1, key=key, help=help)
    if isinstance(setting.value, float):
        return st.number_input(
            label,
            setting.low,
            setting.high,
            setting.value,
            step=setting.value / 10 or 0.01,
            format="%g",
            key=key,
            help=help,
        )
    text = ", ".join(map(str, setting.value)) if isinstance(setting.value, tuple) else setting.value
    typed = st.text_input(label, text, key=key, help=help)
    if not isinstance(setting.value, tuple):
        return typed
    if isinstance(setting.value[0], str):
        return tuple(part.strip() for part in typed.split(",") if part.strip())
    return numbers(typed, setting.name)


def numbers(text: str, name: str) -> tuple[int, ...]:
    """``64, 64`` as whole numbers.

    Raises:
        ConfigError: if something else is among them.
    """
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ConfigError(f"{name}: expected whole numbers like 64, 64, got {text!r}") from error
