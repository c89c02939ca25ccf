"""Algorithms of matrix products: chosen by measuring on the mock device, kept in the engine directory, used again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from penstock.runtime.build import build
from penstock.runtime.config import Config
from penstock.runtime.engine import query_system
from penstock.runtime.synth import synth

pytestmark = pytest.mark.skipif(not query_system()["has_cuda_backend"], reason="this build has no CUDA kernels")

CODERS = {"encoder": "taehv", "decoder": "taehv", "latent_norm": "normalized"}
FILE = "products-Mock-GPU-sm90-cublaslt130002.json"
TIMES = "3 1 2"  # of the algorithms that are offered for every product, in ms: the second, number 1, is the fastest
FASTEST = 1


@dataclass(frozen=True)
class Stage:
    """What happened on the way to an open engine, a session, another open engine, or its being prepared."""

    log: list[str]  # the engine's
    calls: list[list[Any]]  # the driver's

    def of(self, call: str) -> list[list[Any]]:
        return [entry[1:] for entry in self.calls if entry[0] == call]

    @property
    def algorithms(self) -> set[int]:
        return {product[0] for product in self.of("product")}


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two engine directories, for one step and for four."""
    folder = tmp_path_factory.mktemp("engines")
    synth("tiny", folder / "model")
    for steps in (1, 4):
        build(folder / "model", folder / str(steps), Config(height=64, width=96, steps=steps, **CODERS))
    return folder


@pytest.fixture
def run(engines: Path, tmp_path: Path, run_on_mock: Callable) -> Callable[..., dict[str, Stage]]:
    """run(MOCK_ALGORITHMS=...) → the stages; run.folder is the first engine's, which is this test's alone."""
    for steps in (1, 4):
        shutil.copytree(engines / str(steps), tmp_path / str(steps), copy_function=_link)

    def stages(**settings: str) -> dict[str, Stage]:
        result = run_on_mock("tuning.cpp", tmp_path / "1", tmp_path / "4", **{"MOCK_ALGORITHMS": TIMES, **settings})
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr
        found: dict[str, Stage] = {}
        stage = Stage([], [])
        for line in result.stdout.splitlines():
            if line.startswith("== "):
                found[line[3:]] = stage
                stage = Stage([], [])
            elif line.startswith("["):
                stage.calls.append(json.loads(line))
            else:
                stage.log.append(line)
        return found

    return stages


def _link(source: str, target: str) -> None:
    Path(target).symlink_to(source)


def stored(folder: Path) -> dict[str, Any]:
    return json.loads((folder / FILE).read_text())


def tells(stage: Stage) -> list[str]:
    """What the log says of products."""
    return [line for line in stage.log if "plan" not in line]


def test_the_fastest_is_chosen_stored_and_used_again(run: Callable, tmp_path: Path) -> None:
    first = run()
    assert tells(first["open"])[0].startswith("penstock: algorithms of 14 of 14 matrix products measured in ")
    assert first["open"].algorithms == {0, 1, 2} and first["session"].algorithms == {FASTEST}
    products = stored(tmp_path / "1")["products"]
    assert len(products) == 14
    assert {product["us"] for product in products} == {1000.0 + 1500.0 / 8}  # the launch of the graph, too
    # One launch to warm up, then five rounds; what takes more than 1.3 times the best has only one of them.
    assert len(first["open"].of("launch")) == 14 * (6 + 6 + 2)
    again = run(MOCK_ALGORITHMS="1 3 2")  # other times: what is stored counts
    assert tells(again["open"]) == [] and again["open"].of("product") == []
    assert again["session"].algorithms == {FASTEST}
    assert stored(tmp_path / "1")["products"] == products


def test_measuring_writes_to_memory_of_its_own_alone(run: Callable) -> None:
    """Also beside a session: every result goes to memory that was allocated for it, and is let go."""
    stages = run()
    for name in ("open", "other"):
        own = [(begin, begin + size) for begin, size in stages[name].of("allocate")]
        targets = {(target, target + size) for _, target, size in stages[name].of("product")}
        assert targets
        if name == "open":
            own = own[2:]  # the workspace, and the weights
        assert all(any(begin <= a and b <= end for begin, end in own) for a, b in targets)


def test_an_engine_with_the_weights_of_another_shares_its_choices(run: Callable, tmp_path: Path) -> None:
    stages = run()
    known = {tuple(product[key] for key in "mnk") for product in stored(tmp_path / "1")["products"]}
    other = {tuple(product[key] for key in "mnk") for product in stored(tmp_path / "4")["products"]}
    assert other and not known & other
    assert stages["prepare"].algorithms == {FASTEST}


@pytest.mark.parametrize(
    ("settings", "algorithms"),
    [({"PENSTOCK_IMPL": "gemm=heuristic"}, {0}), ({"PENSTOCK_IMPL": "gemm=measured"}, {FASTEST})],
)
def test_what_is_asked_for(run: Callable, tmp_path: Path, settings: dict[str, str], algorithms: set[int]) -> None:
    assert run(**settings)["session"].algorithms == algorithms
    assert (tmp_path / "1" / FILE).exists() == (algorithms == {FASTEST})


BROKEN = {
    "cut off": (lambda text: text[:-20], "line "),
    "not JSON": (lambda text: "\0" * 100, "line 1"),
    "of a device with fewer multiprocessors": (lambda text: text.replace(": 132", ": 66"), "expected 132, got 66"),
    "of another device": (lambda text: text.replace("Mock-GPU", "Other"), "expected Mock-GPU, got 'Other'"),
    "of another version": (lambda text: text.replace("130002", "130003"), "expected 130002, got 130003"),
    "of another format": (lambda text: text.replace('"format": 1', '"format": 2'), "expected 1, got 2"),
    "with short bytes": (lambda text: text.replace("6c6f", "6c", 1), "expected 128 digits, got 126"),
    "with other letters": (lambda text: text.replace("6c6f", "6C6F", 1), "expected hexadecimal digits"),
    "with no size": (lambda text: text.replace('"m": ', '"m": -', 1), "products[0].m: "),
    "with a twin": (lambda text: text.replace(": [\n", ": [\n" + text.split(": [\n")[1].split("},")[0] + "},\n"),
                    "products[1]: the product is there already"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_cannot_be_used_is_replaced(run: Callable, tmp_path: Path, name: str) -> None:
    change, problem = BROKEN[name]
    run()
    good = (tmp_path / "1" / FILE).read_text()
    bad = change(good)
    assert bad != good
    (tmp_path / "1" / FILE).write_text(bad)
    stages = run()
    warning, report = tells(stages["open"])
    assert FILE in warning and problem in warning, warning
    assert "14 of 14" in report and stages["session"].algorithms == {FASTEST}
    assert (tmp_path / "1" / FILE).read_text() == good


def test_a_file_of_another_version_is_left_alone(run: Callable, tmp_path: Path) -> None:
    run()
    stages = run(MOCK_CUBLASLT="130100", MOCK_ALGORITHMS="1 3 2")
    assert stages["session"].algorithms == {0}
    assert {path.name for path in (tmp_path / "1").glob("products-*")} == {FILE, FILE.replace("130002", "130100")}


@pytest.mark.parametrize("settings", [{"MOCK_REFUSED": "1"}, {"MOCK_ALGORITHMS": "3"}], ids=["refused", "not offered"])
def test_an_algorithm_that_is_refused_gives_way_to_the_first(run: Callable, settings: dict[str, str]) -> None:
    run()
    stages = run(**settings)
    (line,) = tells(stages["open"])
    assert "cuBLASLt refuses 14 of its algorithms; its own first guesses take their place" in line
    assert stages["open"].of("product") == [] and stages["session"].algorithms == {0}


def test_bytes_of_a_file_never_reach_cublaslt(run: Callable, tmp_path: Path) -> None:
    """The mock reports every algorithm that it did not give, also to the check."""
    run()
    text = (tmp_path / "1" / FILE).read_text()
    for product in json.loads(text)["products"]:
        text = text.replace(product["algorithm"], "f" * 128)
    (tmp_path / "1" / FILE).write_text(text)
    assert run()["session"].algorithms == {0}


def test_a_directory_that_cannot_be_written(run: Callable, tmp_path: Path) -> None:
    (tmp_path / "1" / FILE).mkdir()  # root may write anywhere, but not replace a directory
    stages = run()
    unread, measured, unwritten = tells(stages["open"])
    assert "expected a regular file, got a directory" in unread and "14 of 14" in measured
    assert f"{FILE}: cannot write: " in unwritten
    assert stages["session"].algorithms == {FASTEST}
    assert [path.name for path in (tmp_path / "1").glob("products-*")] == [FILE]
