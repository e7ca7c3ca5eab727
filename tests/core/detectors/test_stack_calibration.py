import numpy as np
import pytest

from core.detectors.capture_scores import Evidence
from core.detectors.stack import Detectors
from core.detectors.stack_calibration import FEW_CAPTURES, Unseen, calibrate_gat
from tests.core.detectors.toy import prepared, untrained_gat, untrained_vgae


def unseen(number: int, windows: int = 60, stray: float = 0.0) -> Unseen:
    """A capture with ten attacked windows at its end; ``stray``: what a few clean ones reach."""
    capture = prepared(f"train_/{number}", windows, slice(windows - 10, windows), seed=number)
    rng = np.random.default_rng(number)
    odds = rng.normal(0.0, 1.0, len(capture.store)) + 20.0 * capture.store.y
    clean = capture.scored[capture.store.y[capture.scored] == 0]
    odds[clean[:3]] += stray
    evidence = Evidence(np.zeros((len(odds), 8)), odds)
    pair = Detectors(untrained_vgae(), untrained_gat())
    return Unseen(number, pair, capture, evidence, capture.taught)


def border(parts: list[Unseen]) -> float:
    gat = untrained_gat()
    assert calibrate_gat(gat, parts, parts)
    return float(gat.border)


@pytest.mark.parametrize("number", [FEW_CAPTURES - 1, FEW_CAPTURES])
def test_a_short_reference_sets_no_border_where_others_do(number: int) -> None:
    """Strays of a capture whose profile comes from half as many windows as those of the others
    leave the border alone, unless the others are few."""
    full = [unseen(n) for n in range(number)]
    short = unseen(77, windows=18, stray=50.0)
    assert {part.stage for part in full} == {2}
    assert short.stage == 1
    alone, together = border(full), border([*full, short])
    if number >= FEW_CAPTURES:
        assert together == alone
    else:
        assert together > 2 * alone


def test_captures_with_one_class_do_not_speak_for_all() -> None:
    """Those with references of full length are never attacked: the short one has to say how."""
    full = [unseen(n) for n in range(FEW_CAPTURES)]
    clean = [Unseen(p.fold, p.detectors, p.capture, p.evidence, p.clean) for p in full]
    short = unseen(77, windows=18, stray=50.0)
    assert border([*clean, short]) > 2 * border(full)
