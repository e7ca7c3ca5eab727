"""A whole detector stack as one folder: what a vehicle's traffic is judged with, and by.

::

    FOLDER/manifest.json            what it is, how it scores, and the hash of every other file
           vgae.safetensors         both detectors (no gat where none could be trained)
           gat.safetensors
           agent.pth                whom to trust when
           agent.pt2, agent.onnx    the agent for other programs, where asked for
           profiles/*.safetensors   what is normal on the vehicles that are known

The folder needs nothing of the workspace that it comes from.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.cache.fingerprint import code_version
from core.cache.predictions import FusionPredictionCache
from core.captures.dataset import Capture
from core.config import DetectorConfig, override
from core.detectors.capture_scores import score_capture
from core.detectors.checkpoint import load_gat, load_vgae
from core.detectors.prepare import prepare_capture
from core.detectors.stack import Detectors
from core.detectors.vgae import COMPONENTS
from core.device import resolve_device
from core.errors import (
    CaptureError,
    CheckpointError,
    ConfigError,
    StaleCacheError,
    StorageError,
)
from core.evaluation.baselines import fused_score
from core.files import atomic_path, content_hash
from core.fusion.agent import FusionAgent
from core.fusion.portable import write_portable
from core.graphs.cached import graph_store
from core.graphs.profiles import KnownVehicle, load_vehicle
from core.workspace import Workspace

FORMAT = "canfusion-detector-stack"
VERSION = 1


@dataclass(frozen=True)
class ExportedStack:
    """Detectors, agent and profiles that judge captures together."""

    detectors: Detectors
    agent: FusionAgent
    profiles: tuple[KnownVehicle, ...]
    config: DetectorConfig
    threshold: float
    manifest: Mapping[str, Any]

    def judge(self, capture: Path, device: str = "cpu") -> tuple[pa.Table, list[str]]:
        """Score every window of a capture, as one of a test folder would be.

        Returns:
            A table of ``window, first_frame, start_time, end_time`` (s), ``anomaly_score,
            gat_prob, alpha, fused`` and ``attack`` (bool, the verdict); and notes on the vehicle's
            profile. Windows that the profile was learnt from are left out.

        Raises:
            CaptureError: if the capture cannot be read, or is too short.
        """
        if not capture.is_file():
            raise CaptureError(f"{capture}: no such file")
        given = Capture(capture, "test_given", capture.name, content_hash(capture))
        with tempfile.TemporaryDirectory() as scratch:
            store = graph_store(given, self.config.window, Workspace(Path(scratch)))
            if store is None:
                length = self.config.window.length
                raise CaptureError(f"{capture}: shorter than one window of {length}")
            known = list(self.profiles)
            prepared = prepare_capture(given.key, store, self.config, known=known)
            scores = score_capture(self.detectors, prepared, resolve_device(device))
            windows = scores.windows
            placed: dict[str, npt.NDArray[Any]] = {
                "window": windows.astype(np.int32),
                "first_frame": np.array(store.first_frame[windows]),
                "start_time": np.array(store.start_time[windows]),
                "end_time": np.array(store.end_time[windows]),
            }
        if not len(windows):
            raise CaptureError(f"{capture}: too short to commission a profile and be scored")
        cache = FusionPredictionCache.from_arrays(
            scores.anomaly_score.astype(np.float32),
            scores.gat_prob.astype(np.float32),
            np.zeros(len(windows)),
            start_time=placed["start_time"],
            end_time=placed["end_time"],
        )
        for number, name in enumerate(COMPONENTS):
            cache.components[f"vgae_{name}"] = scores.components[:, number].astype(np.float32)
        alpha = self.agent.alpha_of(cache)
        fused = fused_score(cache.anomaly_score, cache.gat_prob, alpha)
        table = pa.table(
            placed
            | {
                "anomaly_score": cache.anomaly_score,
                "gat_prob": cache.gat_prob,
                "alpha": alpha,
                "fused": fused,
                "attack": fused >= self.threshold,
            }
        )
        return table, list(prepared.notes)


def export_stack(
    name: str,
    workspace: Workspace,
    out: Path,
    *,
    protocol: str = "commissioned",
    agent_formats: Sequence[str] = (),
    force: bool = False,
) -> Path:
    """Copy what judges a data set's traffic into a new folder, whole or not at all.

    Args:
        name: of the data set, as the workspace calls it.
        agent_formats: in which the agent is written too (:mod:`core.fusion.portable`).
        force: also where the agent was trained on the scores of other detectors.

    Returns:
        ``out``.

    Raises:
        CheckpointError: if detectors, agent or prediction cache are missing or damaged.
        StaleCacheError: if the agent was not made for these detectors.
        ConfigError: if packages that a format needs are missing.
        StorageError: if there is something at ``out`` already, or it cannot be written.
    """
    if out.exists():
        raise StorageError(f"{out} exists already; expected a new folder to export to")
    agent_path = workspace.agent(name)
    cache_path = workspace.prediction_cache(name, protocol)
    folder = workspace.detectors(name, protocol)
    agent = FusionAgent.load(agent_path)
    config = trained_settings(folder)
    cache = FusionPredictionCache.load(cache_path)
    if not force:
        agent.check_cache(cache, str(cache_path))
        _check_weights(cache, folder)
    files = {"agent.pth": agent_path} | {
        f"{kind}.safetensors": path
        for kind in ("vgae", "gat")
        if (path := folder / "final" / f"{kind}.safetensors").is_file()
    }
    if protocol == "commissioned":
        for path in sorted(workspace.profiles.glob(f"{name}-vehicle-*.safetensors")):
            if load_vehicle(path).window == repr(config.window):
                files[f"profiles/{path.name}"] = path
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "dataset": name,
        "protocol": protocol,
        "threshold": agent.threshold,
        "state": list(agent.encoder.names),
        "alpha_steps": agent.q_network.actions,
        "detector": config.to_dict(),
        "fingerprint": cache.fingerprint,
        "code of features and detectors": code_version(),
        "files": {target: content_hash(path) for target, path in files.items()},
    }
    with atomic_path(out) as temporary:
        for target, path in files.items():
            (temporary / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, temporary / target)
        for kind in agent_formats:
            target = f"agent.{kind}"
            write_portable(agent, temporary / target)
            manifest["files"][target] = content_hash(temporary / target)
        text = json.dumps(manifest, indent=1, allow_nan=False)
        (temporary / "manifest.json").write_text(text + "\n", encoding="utf-8")
    load_export(out)
    return out


def load_export(folder: Path, *, force: bool = False) -> ExportedStack:
    """Read an exported stack, and check that it is whole.

    Args:
        force: also where this program computes features or scores otherwise than the one that
            wrote it.

    Raises:
        CheckpointError: if a file is missing, damaged or not the one that was exported.
        StaleCacheError: if this program's features or detectors are others.
    """
    path = folder / "manifest.json"
    try:
        manifest = dict(json.loads(path.read_text(encoding="utf-8")))
        files = dict(manifest["files"])
        if (manifest["format"], manifest["version"]) != (FORMAT, VERSION):
            raise CheckpointError(
                f"{path}: expected {FORMAT} of version {VERSION}, got "
                f"{manifest['format']!r} of version {manifest['version']!r}"
            )
        config = override(DetectorConfig(), manifest["detector"])
        threshold = float(manifest["threshold"])
        code = manifest["code of features and detectors"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise CheckpointError(f"{path}: no manifest of a detector stack ({error})") from error
    for name, expected in files.items():
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder}: {name} is missing")
        if content_hash(folder / name) != expected:
            raise CheckpointError(f"{folder}: {name} is not the file that was exported")
    if code != code_version() and not force:
        reason = "code of features and detectors changed"
        raise StaleCacheError(
            f"{folder} was exported by another version of this program: {reason}; export it anew, "
            "or ask for it to be used all the same",
            [reason],
        )
    gat = load_gat(folder / "gat.safetensors") if "gat.safetensors" in files else None
    return ExportedStack(
        Detectors(load_vgae(folder / "vgae.safetensors"), gat),
        FusionAgent.load(folder / "agent.pth"),
        tuple(load_vehicle(folder / n) for n in sorted(files) if n.startswith("profiles/")),
        config,
        threshold,
        manifest,
    )


def trained_settings(folder: Path) -> DetectorConfig:
    """Settings that the detectors in a folder were trained with.

    Raises:
        CheckpointError: if there are none, or no settings are known of them.
    """
    path = folder / "detectors.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return override(DetectorConfig(), about["fingerprint"]["settings"])
    except FileNotFoundError:
        raise CheckpointError(f"{folder}: no trained detectors there") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise CheckpointError(f"{path}: damaged ({error})") from error


def _check_weights(cache: FusionPredictionCache, folder: Path) -> None:
    """Refuse detectors that are not those whose scores the agent was trained on."""
    weights = cache.fingerprint.get("weights", {})
    given = [name for name in weights if name.startswith("given")]
    if given:
        raise CheckpointError(
            f"the agent was trained on scores of a {given[0]} that was brought along; only "
            "detectors trained on the data set itself can be exported"
        )
    for path in sorted(folder.glob("final/*.safetensors")):
        name = path.relative_to(folder).as_posix()
        if weights.get(name) != content_hash(path):
            raise StaleCacheError(
                f"{path} is not the detector whose scores the agent was trained on; train anew "
                "(python train_fusion_lightning.py), or ask for it to be exported all the same",
                [f"weights: {name} changed"],
            )
