"""Two result files side by side: which metrics changed by more than the noise that the two measured themselves.

A metric has an interval from its rounds and passes. What moves in a run moves many rows alike, which one row's interval
may not show; so every metric is granted at least the noise that nine in ten of the files' metrics stay below, and 1 %.
A change is flagged if the medians differ by more than the sum of both noises. To be fair to the many comparisons of one
report, twice the noise is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from penstock.runtime.errors import PenstockError

from .results import Results, metrics_of
from .timing import Measure

LEAST_NOISE = 0.01


@dataclass(frozen=True)
class Change:
    """One metric in both files; ``allowed``: the relative difference up to which it counts as equal."""

    id: str
    metric: str
    before: Measure
    after: Measure
    allowed: float

    @property
    def relative(self) -> float:
        """How much larger the metric has become: 0.1 is 10 %."""
        return self.after.value / self.before.value - 1 if self.before.value else 0.0

    @property
    def flagged(self) -> bool:
        return abs(self.relative) > self.allowed

    @property
    def better(self) -> bool:
        return (self.relative > 0) == self.metric.endswith("fps")


def typical_noise(results: Results) -> float:
    """What the noise of nine in ten metrics stays below."""
    noises = sorted(measure.noise for row in results.rows for measure in metrics_of(row).values())
    return noises[int(0.9 * (len(noises) - 1))] if noises else 0.0


def compare(before: Results, after: Results) -> list[Change]:
    """Every metric that both files have; PenstockError if they were not measured on the same kind of machine."""
    _check_comparable(before, after)
    least = max(LEAST_NOISE, typical_noise(before), typical_noise(after))
    rows = {row["id"]: metrics_of(row) for row in before.rows}
    changes = []
    for row in after.rows:
        for name, measure in metrics_of(row).items():
            old = rows.get(row["id"], {}).get(name)
            if old is not None:
                allowed = 2 * (max(old.noise, least) + max(measure.noise, least))
                changes.append(Change(row["id"], name, old, measure, allowed))
    if not changes:
        raise PenstockError("compare: the two result files have no row in common")
    return changes


def _check_comparable(before: Results, after: Results) -> None:
    for what, old, new in (("set", before.set, after.set), ("device", before.device, after.device)):
        if old != new:
            raise PenstockError(f"compare: {what} {old!r} against {new!r}: only like can be compared")
    part = "gpu" if before.device == "cuda" else "cpu"
    old, new = before.machine.get(part), after.machine.get(part)
    if old != new:
        raise PenstockError(f"compare: measured on different machines: {old} against {new}")


def comparison_text(before: Results, after: Results) -> str:
    """The flagged changes, and one line that says how many were looked at and what the noise was."""
    changes = compare(before, after)
    flagged = sorted((change for change in changes if change.flagged), key=lambda change: -abs(change.relative))
    lines = [
        f"{'better' if change.better else 'WORSE':<6} {change.relative:+7.1%} (allowed {change.allowed:.1%})  "
        f"{change.before.value:.4g} -> {change.after.value:.4g} {change.metric}  {change.id}"
        for change in flagged
    ]
    noise = f"noise {typical_noise(before):.1%} and {typical_noise(after):.1%}"
    commits = f"{before.machine.get('commit')} against {after.machine.get('commit')}"
    return "\n".join(
        [*lines, f"{len(flagged)} of {len(changes)} metrics changed beyond the noise ({noise}); {commits}"]
    )
