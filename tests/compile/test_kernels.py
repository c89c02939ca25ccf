"""Every kernel compiles, for sm_90a within what tests/compile/resources.json records, for the others at least once.

After a change that is meant: python -m tests.compile.resources
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from penstock.kernels.aot import find_variants
from penstock.kernels.nvcc import CudaVariant, obstacle

from .resources import RECORD, WAIT, Compiled, compile_kernels, disassemble, resources, table

OTHER_ARCHITECTURES = ("80", "89", "100a", "120a")
WITH_8_BIT_FLOATS = {"mean_keys", "quantize_cache", "rolling_attention_fp8"}  # which sm_80 lacks
CUDA_NAMES = {variant.name for *_, variant in find_variants() if isinstance(variant, CudaVariant)}
needs_nvcc = pytest.mark.skipif(obstacle() is not None, reason=f"no CUDA C++ kernels: {obstacle()}")


@pytest.fixture(scope="module")
def hopper(tmp_path_factory: pytest.TempPathFactory) -> list[Compiled]:
    return compile_kernels(tmp_path_factory.mktemp("sm_90a") / "kernels.safetensors")


def test_resources_on_hopper(hopper: list[Compiled]) -> None:
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))
    if obstacle():
        recorded = {title: row for title, row in recorded.items() if title.split()[0] not in CUDA_NAMES}
    found = {kernel.title: resources(kernel) for kernel in hopper}
    problems = [f"{title}: not recorded" for title in found.keys() - recorded]
    problems += [f"{title}: recorded, but no longer there" for title in recorded.keys() - found]
    for title in found.keys() & recorded:
        problems += compare(title, found[title], recorded[title])
    for kernel in hopper:
        problems += [f"{kernel.title}: no {need}" for need in kernel.entry["needs"] if not found[kernel.title][need]]
    explanation = "\n".join([*sorted(problems), "", table(found), "", "to record: python -m tests.compile.resources"])
    assert not problems, explanation


def compare(title: str, found: dict[str, int], recorded: dict[str, int]) -> list[str]:
    """What is worse than recorded. Nothing may spill; a kernel that could not do without would have to be split."""
    problems = [
        f"{title}: {name} {found[name]}, recorded {recorded[name]}"
        for name in ("registers", "shared", WAIT)
        if found.get(name, 0) > recorded.get(name, 0)
    ]
    if found["warps"] != recorded["warps"]:
        problems.append(f"{title}: warps {found['warps']}, recorded {recorded['warps']}")
    if found["stack"]:
        problems.append(f"{title}: stack {found['stack']}")
    return problems


@needs_nvcc
def test_attention_for_hopper_is_as_designed(hopper: list[Compiled]) -> None:
    """24 registers for the producer, 240 for the consumers. 8 products of keys and 8 of values in the loop, 8 more of
    values behind it, with 4 waits in all: ptxas did not take them apart. 6 copies by TMA: two halves of each tile. One
    exponential for each of a thread's 64 scores, and for each of its 2 rows. Consumers that take turns wait for theirs
    in the loop and at the end, and come to the other's barrier at the begin and in both branches of the loop. No branch
    parts a warp."""
    forms = [kernel for kernel in hopper if kernel.entry["name"] == "rolling_attention_sm90"]
    assert [kernel.entry["constants"]["PING_PONG"] for kernel in forms] == [0, 1]
    for kernel, (waits, arrivals) in zip(forms, [(1, 0), (3, 3)], strict=True):
        sass = disassemble(kernel)
        assert register_split(sass) == (24, 240)
        assert counts(sass, "HGMMA", WAIT, "UTMALDG", "MUFU.EX2", "BAR.SYNC", "BAR.ARV") == {
            "HGMMA": 24, WAIT: 4, "UTMALDG": 6, "MUFU.EX2": 66, "BAR.SYNC": waits, "BAR.ARV": arrivals,
        }, kernel.title  # fmt: skip
        assert not re.search(r"\b(LDL|STL|HMMA|WARPSYNC)\b", sass)


@needs_nvcc
def test_convolutions_for_hopper_are_as_designed(hopper: list[Compiled]) -> None:
    """32 registers for the producer, 160 for the consumers. In the loop two products of 16 channels for each tap and
    block of 64 pixels, with as many columns as there are output channels, and one wait, one more behind it: ptxas did
    not take them apart. One copy by TMA of pixels, and one of weights for each tap."""
    forms = [kernel for kernel in hopper if kernel.entry["name"] == "causal_conv3d_sm90"]
    assert len(forms) == 12
    for kernel in forms:
        columns, taps = (kernel.entry["constants"][name] for name in ("COLUMNS", "TAPS"))
        sass = disassemble(kernel)
        assert register_split(sass) == (32, 160)
        products = 2 * taps * (192 // columns)
        assert counts(sass, f"HGMMA.64x{columns}x16.F32.BF16", "HGMMA", WAIT, "UTMALDG") == {
            f"HGMMA.64x{columns}x16.F32.BF16": products, "HGMMA": products, WAIT: 2, "UTMALDG": 1 + taps,
        }, kernel.title  # fmt: skip
        assert not re.search(r"\b(LDL|STL|HMMA)\b", sass)


def register_split(sass: str) -> tuple[int, int]:
    """Registers of a thread of the producer and of a consumer."""
    split = re.findall(r"USETMAXREG\.(\w+)\.CTAPOOL (?:UP\d, )?(0x[0-9a-f]+)", sass)
    (fewer, producer), (more, consumer) = sorted((how, int(registers, 16)) for how, registers in split)
    assert (fewer, more) == ("DEALLOC", "TRY_ALLOC")
    return producer, consumer


def counts(sass: str, *names: str) -> dict[str, int]:
    return {name: len(re.findall(rf"\b{re.escape(name)}\b", sass)) for name in names}


def test_manifest(hopper: list[Compiled]) -> None:
    """What the engine relies on. Two forms of a kernel differ in their constants, by which they are found."""
    titles = [kernel.title for kernel in hopper]
    assert len(set(titles)) == len(titles)
    for kernel in hopper:
        entry = kernel.entry
        assert kernel.cubin.startswith(b"\x7fELF") and len(kernel.cubin) % 16 == 0
        assert entry["symbol"].encode() in kernel.cubin
        assert entry["tensor"].rsplit("/", 1)[0] == f"sm_90a/{entry['name']}"
        assert (entry["global_scratch"], entry["scratch_params"]) == (0, 0 if entry["name"] in CUDA_NAMES else 2)
        assert set(entry["divisible"]) <= {parameter["name"] for parameter in entry["params"]}


def test_no_path_of_this_machine_is_in_the_file(hopper: list[Compiled]) -> None:
    folder = str(Path(__file__).resolve().parents[2]).encode()
    assert not any(folder in kernel.cubin or b"kernels/" in kernel.cubin for kernel in hopper)


def test_other_architectures(tmp_path: Path, hopper: list[Compiled]) -> None:
    compiled = compile_kernels(tmp_path / "kernels.safetensors", "--first-only", "--arch", *OTHER_ARCHITECTURES)
    names = {kernel.entry["name"] for kernel in hopper} - CUDA_NAMES
    for arch in OTHER_ARCHITECTURES:
        without = WITH_8_BIT_FLOATS if arch == "80" else set()
        assert {kernel.entry["name"] for kernel in compiled if kernel.entry["arch"] == f"sm_{arch}"} == names - without
    taken = {f"{kernel.entry['arch']} {kernel.title}": resources(kernel) for kernel in compiled}
    assert not any(row["stack"] for row in taken.values()), table(taken)
