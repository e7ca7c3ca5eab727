"""How far a run is, and how long it will still take."""

from collections.abc import Mapping

MIN_FRACTION, MIN_SECONDS, ENOUGH_SECONDS = 0.02, 2.0, 30.0
"""Below the first two nothing sensible can be said about the remaining time; after the third
something can be said whatever the fraction."""
FALL = 0.1
"""By how much the share done must have been too high before it is taken back."""


class Estimate:
    """Progress of a whole run out of the progress of its steps.

    A plan may be far off: the run it was measured in had a hundredth of the epochs. So what a step
    takes is, the longer it lasts, rather judged by how fast it advances than by the plan.

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
        self._spent: dict[str, float] = {}
        self._step = ""
        self._remaining = 0.0
        self.overall = 0.0
        """Share of the run that is done, 0 to 1; falls only where it was far too high."""

    def update(self, step: str, fraction: float, elapsed_s: float = 0.0) -> float:
        """Note that ``step`` is done to ``fraction`` (0 to 1); returns the share of the run.

        Args:
            elapsed_s: work done so far; 0: not known, all steps take as long as planned.
        """
        if step not in self._weights:
            average = sum(self._weights.values()) / max(len(self._weights), 1)
            self._weights[step] = average or 1.0
            # It comes now: what is planned for later is still to come.
            self._order.insert(self._reached() + 1, step)
        self._done[step] = max(self._done.get(step, 0.0), min(max(fraction, 0.0), 1.0))
        # The time since the last report went into the step that was at work then.
        at_work, self._step = self._step or step, step
        since = max(elapsed_s - sum(self._spent.values()), 0.0)
        self._spent[at_work] = self._spent.get(at_work, 0.0) + since
        done = sum(self._weights[s] * share for s, share in self._done.items())
        spent = sum(self._spent.values())
        unit_s = spent / done if spent and done else 1.0
        reached = self._reached()
        self._remaining = sum(
            self._left(s, unit_s)
            for i, s in enumerate(self._order)
            if s in self._done or i > reached
        )
        passed = spent or done
        share = passed / (passed + self._remaining) if passed else 0.0
        if share > self.overall or share < self.overall - FALL:
            self.overall = share
        return self.overall

    def _left(self, step: str, unit_s: float) -> float:
        """Seconds to go in one step; one unit of the plan takes ``unit_s``."""
        planned = self._weights[step] * unit_s
        done, spent = self._done.get(step, 0.0), self._spent.get(step, 0.0)
        if not done or not spent:
            return planned * (1 - done)
        trust = spent / (spent + planned)
        return (trust * spent / done + (1 - trust) * planned) * (1 - done)

    def _reached(self) -> int:
        """Place of the latest step that was entered; -1 before the first."""
        return max((self._order.index(known) for known in self._done), default=-1)

    def remaining_s(self) -> float | None:
        """Seconds to go, or None while it is too early to say."""
        spent = sum(self._spent.values())
        if spent < MIN_SECONDS or (self.overall < MIN_FRACTION and spent < ENOUGH_SECONDS):
            return None
        return self._remaining
