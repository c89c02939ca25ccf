"""What the library says of an NVIDIA device agrees with what the driver's own tool says."""

from __future__ import annotations

import json
import subprocess
import sys

from penstock.runtime.engine import query_system


def test_the_library_sees_the_device() -> None:
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    names = subprocess.run(query, check=True, capture_output=True, text=True).stdout.splitlines()
    system = query_system()
    assert system["cuda_device_count"] == len(names)
    assert system["cuda_device_name"] == names[0].strip()
    assert system["cuda_driver_version"] >= 12000


def test_doctor_names_the_device() -> None:
    command = [sys.executable, "-m", "penstock", "doctor", "--json"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert report["cuda_device_name"] == query_system()["cuda_device_name"] != ""
