from pathlib import Path

import numpy as np
import pytest

from core.bench.fusion_scale import measure_fusion_scale
from core.bench.scale import FORMATS, measure_scale, stream, write_capture
from core.captures.arrow_io import load
from core.captures.readers import read_chunks
from tests.core.small_dataset import recording


def test_a_stream_repeats_its_block_and_its_clock_goes_on() -> None:
    block = recording(0, 0.5)
    frames = 2 * len(block) + 7
    parts = list(stream(block, frames))
    assert [len(part) for part in parts] == [len(block), len(block), 7]
    np.testing.assert_array_equal(parts[2].payload, block.payload[:7])
    assert (np.diff(np.concatenate([part.timestamp for part in parts])) >= 0).all()


@pytest.mark.parametrize("format", list(FORMATS))
def test_a_capture_larger_than_memory_is_written_in_parts(tmp_path: Path, format: str) -> None:
    block = recording(0, 0.5)
    write_capture(stream(block, 2 * len(block) + 7), tmp_path / "x", format)
    (capture,) = read_chunks(tmp_path / "x") if format != "arrow" else [load(tmp_path / "x")]
    assert len(capture) == 2 * len(block) + 7
    assert capture.skipped.counts == {}
    np.testing.assert_array_equal(capture.payload[: len(block)], block.payload)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_capture() -> None:
    few, many = measure_scale(100_000), measure_scale(3_000_000)
    assert many["store_mb"] > 100
    assert many["peak_memory_mb"] < few["peak_memory_mb"] + 30
    assert many["growth"] < 3  # Far above what is asked of a quiet machine.


@pytest.mark.slow
def test_an_agent_does_not_load_the_cache_that_it_is_trained_on() -> None:
    few, many = measure_fusion_scale(500_000), measure_fusion_scale(2_000_000)
    # All columns and their split into training and validation would be twice the file.
    grown = many["peak_memory_mb"] - few["peak_memory_mb"]
    assert grown < 0.9 * (many["file_mb"] - few["file_mb"])
