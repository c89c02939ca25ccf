"""ring_queue of full caches, against torch's means and cosines alone."""

from ..op_benchmark import OpBenchmark
from .sink_refresh import similarities


def values(call):
    """The state of a full cache: the rolling frames wait in the queue in the order of their places."""
    capacity, sinks = call.number("capacity"), call.number("sinks")
    queue = [*range(sinks + 1, capacity + 1)]
    return {"frame_position": 21, "global_end": 21, "local_end": capacity, "current_step": 1,
            "queue_size": len(queue), "queue": queue + [0] * (call.shapes["queue"][1] - len(queue))}  # fmt: skip


BENCHMARK = OpBenchmark(
    "ring_queue", "dit", {"eager": similarities}, {"cache_policy": "streamdiffusionv2", "sink_threshold": 0.2}, values,
    tolerance=None,
)  # fmt: skip
