"""Engine directories: a plan with its packed weights on disk, which a C++ host opens without Python."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .config import Config
from .engine import Engine
from .errors import PenstockError, os_errors_as_penstock
from .model import ModelDir, load_model
from .models.video_stream import stream_plan
from .pack import PackedWeight, packed_weights
from .plan import Plan
from .prompt import PROMPT_FILE, Prompt, write_prompt
from .safetensors_io import Progress, TensorInfo, write_safetensors

PLAN_FILE = "plan.json"
WEIGHTS_FILE = "weights.safetensors"


@dataclass(frozen=True)
class BuildReport:
    """What a build wrote: where, how many weights, and their bytes."""

    path: Path
    weights: int
    weight_bytes: int
    plan: Plan


def build(
    model_dir: str | Path,
    engine_dir: str | Path,
    config: Config,
    progress: Progress | None = None,
    prompt: Prompt | None = None,
) -> BuildReport:
    """Writes the engine directory {plan.json, weights.safetensors} of a model for one configuration.

    Weights keep the dtype of the model directory. With a prompt, prompt.safetensors is there too, in float32: the
    prompt that a host's sessions begin with. An existing engine directory is overwritten; any other non-empty directory
    is refused.
    """
    target = Path(engine_dir)
    model = load_model(model_dir)
    plan = stream_plan(model.spec, config)
    plan.validate()
    if prompt is not None:
        prompt.check_fits(model.spec.dit.text_len, model.spec.dit.text_dim)
    with os_errors_as_penstock(target, "write the engine directory"):
        if target.exists() and (not target.is_dir() or (any(target.iterdir()) and not (target / PLAN_FILE).is_file())):
            raise PenstockError(f"{target}: exists and is not an engine directory")
        target.mkdir(parents=True, exist_ok=True)
    with model.open_weights() as weights:
        return write_engine_directory(target, plan, packed_weights(plan, weights), progress, prompt)


def write_engine_directory(
    target: Path, plan: Plan, weights: Iterable[PackedWeight], progress: Progress | None = None,
    prompt: Prompt | None = None,
) -> BuildReport:  # fmt: skip
    """The files of an engine directory, which exists, from a plan and its weights; see :func:`build`."""
    packed = {weight.name: weight for weight in weights}
    infos = [TensorInfo.of(weight.name, weight.dtype.upper(), weight.shape) for weight in packed.values()]
    write_safetensors(target / WEIGHTS_FILE, infos, lambda info: packed[info.name].parts, progress=progress)
    with os_errors_as_penstock(target, "write the plan"):
        (target / PROMPT_FILE).unlink(missing_ok=True)  # of what was built here before
        (target / PLAN_FILE).write_text(plan.to_json(), encoding="utf-8")
    if prompt is not None:
        write_prompt(target / PROMPT_FILE, prompt, "F32")
    return BuildReport(target, len(infos), sum(info.nbytes for info in infos), plan)


def create_engine(
    model: ModelDir, config: Config, device: str = "auto", threads: int = 0, weights_from: Engine | None = None,
    schedule: str = "latency",
) -> Engine:  # fmt: skip
    """An engine straight from a model directory, without writing an engine directory."""
    plan = stream_plan(model.spec, config)
    with model.open_weights() as weights:
        return Engine.create(plan, packed_weights(plan, weights), device, threads, weights_from, schedule)
