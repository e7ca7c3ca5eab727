import numpy as np
import pytest

from core.captures import excerpt
from core.captures.excerpt import read_excerpt
from core.captures.formats import candump
from core.captures.readers import read_capture
from core.errors import CaptureError


@pytest.fixture
def capture(tmp_path):
    path = tmp_path / "a.log"
    path.write_text(
        "".join(f"({i / 10:.6f}) can0 {0x100 + i % 3:03X}#{i:016X}\n" for i in range(30))
    )
    return path


@pytest.mark.parametrize("chunk", [1, 4, 7, 1000])
def test_an_excerpt_is_what_lies_there_wherever_chunks_end(capture, monkeypatch, chunk):
    monkeypatch.setattr(
        excerpt, "read_chunks", lambda path: candump.read_chunks(path, frames=chunk)
    )
    whole, part = read_capture(capture), read_excerpt(capture, 6, 9)
    for name in ("timestamp", "arbitration_id", "payload", "length", "label"):
        assert np.array_equal(getattr(part, name), getattr(whole, name)[6:15])
    assert len(read_excerpt(capture, 25, 100)) == 5


@pytest.mark.parametrize("chunk", [1, 4, 1000])
def test_an_excerpt_by_time_ends_with_the_frame_of_that_time(capture, monkeypatch, chunk):
    monkeypatch.setattr(
        excerpt, "read_chunks", lambda path: candump.read_chunks(path, frames=chunk)
    )
    part = read_excerpt(capture, 6, end_time=1.2)
    assert part.timestamp.tolist() == pytest.approx([i / 10 for i in range(6, 13)])


def test_a_capture_that_is_too_short_says_so(capture):
    with pytest.raises(CaptureError, match="expected a frame 30, but the capture has 30"):
        read_excerpt(capture, 30, 5)


def test_payloads_of_different_widths_are_padded(capture):
    parts = [read_excerpt(capture, 0, 2), read_excerpt(capture, 2, 1)]
    wide = np.pad(parts[1].payload, ((0, 0), (0, 56)))
    joined = excerpt._join([parts[0], excerpt.replace(parts[1], payload=wide)])
    assert joined.payload.shape == (3, 64)
    assert np.array_equal(joined.payload[:, :8], read_excerpt(capture, 0, 3).payload)
