"""GPU tests are skipped where there is no NVIDIA device, and their number is said."""

from __future__ import annotations

import os

import pytest

from penstock.runtime.engine import query_system


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = [item for item in items if item.path.parent == config.rootpath / "tests" / "gpu"]
    config.stash[GPU_TESTS] = len(here)
    if query_system()["cuda_device_count"] == 0:
        on_cpu = os.environ.get("PENSTOCK_OPS_DEVICE") == "cpu"
        for item in [item for item in here if not (on_cpu and item.path.name in ON_CPU)]:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA device"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    present = query_system()["cuda_device_count"] > 0
    state = "run on a device" if present else "skipped, no NVIDIA device here"
    terminalreporter.write_line(f"GPU tests: {config.stash.get(GPU_TESTS, 0)} {state}")


# What PENSTOCK_OPS_DEVICE=cpu runs on the CPU backend.
ON_CPU = {"test_ops.py", "test_rolling_attention_fp8.py", "test_coder.py"}
GPU_TESTS: pytest.StashKey[int] = pytest.StashKey()
