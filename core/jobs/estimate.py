"""How far a run is, and how long it will still take."""

from collections.abc import Mapping

MIN_FRACTION, MIN_SECONDS = 0.02, 2.0
"""Below this nothing sensible can be said about the remaining time."""


class Estimate:
    """Progress of a whole run out of the progress of its steps.

    Args:
        plan: step -> expected share of the time, in the order of the run, in any unit (seconds of
            an earlier run, say). Steps that are not in the plan count as one average step, where
            they come. Planned steps that the run never enters (a cache was there) drop out when a
            later step begins.
    """

    def __init__(self, plan: Mapping[str, float] | None = None) -> None:
        self._weights = {step: max(weight, 1e-9) for step, weight in (plan or {}).items()}
        self._order = list(self._weights)
        self._done: dict[str, float] = {}
        self.overall = 0.0
        """Share of the run that is done, 0 to 1; never falls."""

    def update(self, step: str, fraction: float) -> float:
        """Note that ``step`` is done to ``fraction`` (0 to 1); returns the share of the run."""
        if step not in self._weights:
            average = sum(self._weights.values()) / max(len(self._weights), 1)
            self._weights[step] = average or 1.0
            # It comes now: what is planned for later is still to come.
            self._order.insert(self._reached() + 1, step)
        self._done[step] = max(self._done.get(step, 0.0), min(max(fraction, 0.0), 1.0))
        reached = self._reached()
        counted = [s for i, s in enumerate(self._order) if s in self._done or i > reached]
        total = sum(self._weights[s] for s in counted)
        share = sum(self._weights[s] * self._done.get(s, 0.0) for s in counted) / total
        self.overall = max(self.overall, min(share, 1.0))
        return self.overall

    def _reached(self) -> int:
        """Place of the latest step that was entered; -1 before the first."""
        return max((self._order.index(known) for known in self._done), default=-1)

    def remaining_s(self, elapsed_s: float) -> float | None:
        """Seconds to go after ``elapsed_s`` seconds of work, or None while it is too early."""
        if self.overall < MIN_FRACTION or elapsed_s < MIN_SECONDS:
            return None
        return elapsed_s * (1 - self.overall) / self.overall
