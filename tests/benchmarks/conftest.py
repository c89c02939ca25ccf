"""What the tests of the benchmarks share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cuda.conftest import mock_driver, run_with_driver

__all__ = ["mock_driver", "run_with_driver"]  # fixtures


@pytest.fixture
def all_ops(pytestconfig: pytest.Config) -> list[str]:
    """The ops that have a contract."""
    ops: Path = pytestconfig.rootpath / "csrc" / "ops"
    return sorted(folder.name for folder in ops.iterdir() if folder.is_dir())
