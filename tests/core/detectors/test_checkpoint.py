import resource
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.detectors.checkpoint import load_gat, load_vgae, save_detector, weights_hash
from core.errors import CheckpointError, StorageError
from tests.core.detectors.toy import GAT_CONFIG, VGAE_CONFIG, untrained_gat, untrained_vgae


def test_a_saved_detector_comes_back_whole(tmp_path: Path) -> None:
    vgae, gat = untrained_vgae(), untrained_gat()
    vgae.thresholds.fill_(7.0)
    vgae.component_center.fill_(-3.0)
    save_detector(vgae.train(), tmp_path / "new" / "v.safetensors")
    save_detector(gat, tmp_path / "g.safetensors")
    read = load_vgae(tmp_path / "new" / "v.safetensors"), load_gat(tmp_path / "g.safetensors")
    assert weights_hash(read[0]) == weights_hash(vgae)
    assert weights_hash(read[1]) == weights_hash(gat)
    assert (read[0].config, read[1].config) == (VGAE_CONFIG, GAT_CONFIG)
    assert not read[0].training
    assert (read[0].thresholds == 7).all()


def test_the_hash_covers_weights_and_calibration() -> None:
    vgae = untrained_vgae()
    before = weights_hash(vgae)
    assert before == weights_hash(untrained_vgae())
    vgae.thresholds[0] += 1
    assert weights_hash(vgae) != before


def saved(path: Path) -> Path:
    save_detector(untrained_vgae(), path)
    return path


@pytest.mark.parametrize("damage", ["missing", "empty", "junk", "truncated", "folder", "pickle"])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "v.safetensors"
    if damage == "empty":
        path.touch()
    elif damage == "junk":
        path.write_bytes(bytes(range(256)) * 20)
    elif damage == "truncated":
        content = saved(path).read_bytes()
        path.write_bytes(content[: len(content) * 2 // 3])
    elif damage == "folder":
        path.mkdir()
    elif damage == "pickle":
        torch.save(untrained_vgae().state_dict(), path)
    with pytest.raises(CheckpointError, match=r"v\.safetensors"):
        load_vgae(path)


def test_a_detector_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "v.safetensors")
    with pytest.raises(CheckpointError, match="expected a GAT checkpoint, got one of VGAE"):
        load_gat(path)
    save_detector(untrained_gat(), path)
    with pytest.raises(CheckpointError, match="expected a VGAE"):
        load_vgae(path)


def rewrite(path: Path, config: str, drop: str = "") -> None:
    tensors = load_file(path)
    tensors.pop(drop, None)
    save_file(tensors, path, metadata={"kind": "VGAE", "config": config})


@pytest.mark.parametrize(
    ("config", "drop", "expected"),
    [
        ('{"hidden_channels": 12, "latent_channels": 3}', "", "another shape: .* is"),
        ('{"hidden_channels": 6, "latent_channels": 3}', "thresholds", "thresholds is missing"),
        ('{"hidden_channels": "six"}', "", "VGAEConfig.hidden_channels"),
        ('{"nonsense": 1}', "", "no setting 'nonsense'"),
        ("{", "", "not a VGAE checkpoint"),
        ("[1]", "", "not a VGAE checkpoint"),
    ],
)
def test_another_shape_or_configuration_is_refused(
    tmp_path: Path, config: str, drop: str, expected: str
) -> None:
    path = saved(tmp_path / "v.safetensors")
    rewrite(path, config, drop)
    with pytest.raises(CheckpointError, match=expected):
        load_vgae(path)


def test_safetensors_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="no kind"):
        load_vgae(path)


def test_a_write_that_fails_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk."""
    path = saved(tmp_path / "v.safetensors")
    old = path.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
        with pytest.raises(StorageError, match=r"cannot write .*v\.safetensors"):
            save_detector(untrained_vgae(1), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["v.safetensors"]
