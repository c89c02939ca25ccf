"""How long things take: interleaved rounds, medians, and how far to believe them."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

MIN_ROUNDS, MAX_ROUNDS = 7, 60


class Variant(Protocol):
    """Something to be timed: ``sample`` runs it once, with all its repeats, and returns the seconds of one call."""

    def sample(self) -> float: ...


@dataclass(frozen=True)
class Measure:
    """A median (or other quantile) and the interval that holds the true one with 95 %, as if rounds were independent.

    Over several passes: the median of their medians, the interval that covers all of theirs, and all their rounds.
    """

    value: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, samples: Sequence[float], share: float = 0.5) -> Measure:
        """Order statistics: the number of samples below a quantile is binomial, whatever their distribution.

        ``share``: that of the quantile, 0.99 for the 99th percentile.
        """
        ordered, n = sorted(samples), len(samples)
        reach = 1.96 * math.sqrt(n * share * (1 - share))
        low, high = max(math.floor(n * share - reach), 0), min(math.ceil(n * share + reach), n - 1)
        return cls(float(np.quantile(ordered, share)), ordered[low], ordered[high], n)

    @classmethod
    def over(cls, passes: Sequence[Measure]) -> Measure:
        return cls(statistics.median(one.value for one in passes), min(one.low for one in passes),
                   max(one.high for one in passes), sum(one.rounds for one in passes))  # fmt: skip

    @property
    def noise(self) -> float:
        """Half the interval, as a share of the median."""
        return (self.high - self.low) / 2 / self.value if self.value else 0.0

    def scaled(self, factor: float) -> Measure:
        return Measure(self.value * factor, self.low * factor, self.high * factor, self.rounds)

    def to_json(self) -> dict[str, float]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Measure:
        return cls(**{name: record[name] for name in ("value", "low", "high", "rounds")})


def measure_interleaved(variants: Mapping[str, Variant], seconds: float) -> dict[str, Measure]:
    """Seconds per call of every variant, in turns (ABAB): a machine's speed drifts by more than they differ.

    The first round warms up. Rounds go on for ``seconds``, but there are at least 7 and at most 60.
    """
    samples: dict[str, list[float]] = {name: [] for name in variants}
    for variant in variants.values():
        variant.sample()
    end = time.perf_counter() + seconds
    for rounds in range(MAX_ROUNDS):
        if rounds >= MIN_ROUNDS and time.perf_counter() > end:
            break
        for name, variant in variants.items():
            samples[name].append(variant.sample())
    return {name: Measure.of(values) for name, values in samples.items()}
