"""The denoising stream as a plan: phases ``set_prompt``, ``denoise_first``, ``denoise`` around the DiT (spec 2.2, 4.9).

Step state, all on the device (what changes from chunk to chunk; n = passes, S = slots of the stream batch):

    timestep, sigma   f32 [n]            of every pass
    noise_scale       f32 [1]            level mixed into the clean latents of a new chunk, unless a controller sets it
    noise_level       f32 [1]            that level under the noise controller (see video_stream.py)
    seed              u64 [1]            key of all noise
    noise_given       i32 [1]            1: take the noise from the inputs, in the spec's draw order
    prompt_length     i32 [1]            valid rows of the text keys
    chunk             i64 [1]            index of the newest chunk; 0 is the first
    row_chunk         i64 [S]            chunk that each slot works on
    frame_position    i32 [S]            temporal rotary position of the slot's first frame
    rebase            i32 [S]            what the positions of the cached rolling keys move by, at a refresh
    ring_write        i32 [layers, S]    cache frame that receives the slot's chunk
    ring_length       i32 [layers, S]    cache frames that the slot attends to

A stream can go on with another configuration of the model at a chunk boundary (``carry`` of a tensor, plan.py). What
a chunk sets anew before it is read, and what depends on the schedule, is each configuration's own: timestep, sigma,
row_chunk, frame_position, rebase, ring_write, ring_length, and the latents in flight. The rolling caches and their
state have slots. All the rest is the stream's and goes over: counters, controls, the prompt, the coders' rings.

ring_write and ring_length are by cache slot where a layer's keys and values decide; ``rolling_cache.py`` lists what
else that takes.
"""

from __future__ import annotations

from dataclasses import replace

from ..config import Config
from ..model import ModelSpec
from ..plan import Plan, PlanBuilder, Tensor
from ..schedule import sigma_of
from .batch import Batch
from .wan_dit import WanDit


class DenoisingStream:
    """Declares the stream's tensors and writes its phases."""

    def __init__(self, model: ModelSpec, config: Config):
        self.config, self.spec = config, model.dit
        name = f"{model.name} {config.height}x{config.width}, {config.steps} steps, {config.mode}"
        plan = self.plan = PlanBuilder(name, config.to_dict())
        passes, slots = config.passes, config.slots
        self.timestep = plan.step("timestep", "f32", (passes,), tuple(float(t) for t in config.schedule), "own")
        self.sigma = plan.step("sigma", "f32", (passes,), tuple(sigma_of(t) for t in config.schedule), "own")
        self.noise_scale = plan.step("noise_scale", "f32", (1,), (config.noise_scale,))
        self.noise_level = self.noise_scale
        if config.controls_noise:
            self.noise_level = plan.step("noise_level", "f32", (1,), (config.noise_scale,))
        self.seed = plan.step("seed", "u64", (1,))
        self.noise_given = plan.step("noise_given", "i32", (1,))
        self.prompt_length = plan.step("prompt_length", "i32", (1,))
        self.chunk = plan.step("chunk", "i64", (1,))
        self.row_chunk = plan.step("row_chunk", "i64", (slots,), carry="own")
        self.frame_position = plan.step("frame_position", "i32", (slots,), carry="own")
        self.rebase = plan.step("rebase", "i32", (slots,), carry="own")
        self.dit = WanDit(plan, self.spec, config, self.prompt_length)
        # Encoded latents and finished ones stay on the device, where the phases of the VAE write and read them.
        declare = plan.input if config.source == "video" and not config.encodes else plan.state
        first, next_ = config.first_latents, config.chunk_latents
        self.latents_first = declare("latents_first", self._latents(1, first)[1:], "f32")
        self.latents = declare("latents", self._latents(1, next_)[1:], "f32")
        self.x0_first = plan.state("x0_first", self._latents(1, first), "f32", "own")
        self.x0 = plan.state("x0", self._latents(slots, next_), "f32", "own")

    def add_phases(self) -> None:
        plan, config = self.plan, self.config
        embeddings = plan.input("prompt_embeddings", (self.spec.text_len, self.spec.text_dim), dtype="compute")
        with plan.phase("set_prompt"):
            self.dit.set_prompt(embeddings)
        with plan.phase("denoise_first"):
            self._first_chunk()
        with plan.phase("denoise"):
            if config.mode == "stream_batch":
                self._stream_batch_chunk()
            else:
                self._sequential_chunk()

    def _latents(self, rows: int, frames: int) -> tuple[int, ...]:
        return (rows, frames, self.spec.in_channels, self.config.latent_height, self.config.latent_width)

    def _advance_ring(self, phase: str) -> None:
        config = self.config
        fields = {"frame_position": self.frame_position, "row_chunk": self.row_chunk, "rebase": self.rebase,
                  **self.dit.cache.ring_advance_fields()}  # fmt: skip
        self.plan.op("ring_advance", {}, fields, {"chunk": self.chunk}, phase=phase, frames=config.chunk_latents,
                     first_frames=config.first_latents, capacity=config.cache_frames, sinks=config.sink_frames,
                     refresh=config.refresh_frames)  # fmt: skip

    def _noise_mix(self, latents: Tensor, noise: Tensor, x: Tensor) -> None:
        """x = s * noise + (1 - s) * latents; row 0 of ``noise`` is the first draw of a chunk."""
        given = {"noise": self.plan.view(noise, noise.shape[1:]), "noise_given": self.noise_given}
        self.plan.op("noise_mix", {"latents": latents, "noise_scale": self.noise_level, "seed": self.seed,
                                   "row_chunk": self.row_chunk, **given}, {"x": x})  # fmt: skip

    def _renoise(self, x: Tensor, flow: Tensor, x0: Tensor, noise: Tensor, advance: str, step: int = 0) -> None:
        """x0 of all rows, and the rows re-noised for their next step; draws follow the input noise in ``noise``."""
        plan, rows = self.plan, x.shape[0]
        renoised = {"shift": rows - 1, "stay": rows, "none": 0}[advance]
        roles: dict[str, Tensor] = {
            "flow": flow, "sigma": plan.view(self.sigma, (rows,), step),
            "seed": self.seed, "row_chunk": plan.view(self.row_chunk, (rows,)),
        }  # fmt: skip
        if renoised:
            row = noise.size // noise.shape[0]
            roles["next_sigma"] = plan.view(self.sigma, (renoised,), step + 1)
            roles["noise"] = plan.view(noise, (renoised, *noise.shape[1:]), (step + 1) * row)
            roles["noise_given"] = self.noise_given
        plan.op("renoise", roles, {"x0": x0}, {"x": x}, advance=advance, first_step=step)

    def _passes(
        self, x: Tensor, flow: Tensor, x0: Tensor, noise: Tensor, frames: int, per_step_cache: bool,
        first_chunk: bool = False,
    ) -> None:  # fmt: skip
        """All passes one after the other on the chunk in ``x`` [1, F, C, h, w]; ``x0`` is the last pass's."""
        plan, passes = self.plan, self.config.passes
        for step in range(passes):
            last = step + 1 == passes
            timestep = plan.view(self.timestep, (1,), step)
            state = (plan.view(field, (1,)) for field in (self.frame_position, self.row_chunk, self.rebase))
            cache, revisits = (step, False) if per_step_cache else (0, step > 0)
            batch = Batch(frames, timestep, *state, cache, revisits, first_chunk)
            step_flow = flow if last else plan.scratch(f"step{step}.flow", x.shape, "f32")
            self.dit.forward(f"step{step}", x, step_flow, batch)
            step_x0 = x0 if last else plan.scratch(f"step{step}.x0", x.shape, "f32")
            self._renoise(x, step_flow, step_x0, noise, "none" if last else "stay", step)

    def _first_chunk(self) -> None:
        """All steps on one cache over the first frames jointly; the last pass's keys and values stay in every slot."""
        plan, frames, shape = self.plan, self.config.first_latents, self.x0_first.shape
        noise = plan.input("noise_first", self._latents(self.config.passes, frames))
        x, flow = plan.scratch("x", shape, "f32"), plan.output("flow_first", shape)
        self._advance_ring("first")
        self.dit.cache.begin_stream()
        self._noise_mix(self.latents_first, noise, x)
        self._passes(x, flow, self.x0_first, noise, frames, per_step_cache=False, first_chunk=True)
        self.dit.cache.replicate(self.rebase)

    def _chunk_tensors(self) -> tuple[Tensor, Tensor]:
        noise = self.plan.input("noise", self._latents(self.config.passes, self.config.chunk_latents))
        return noise, self.plan.output("flow", self.x0.shape)

    def _stream_batch_chunk(self) -> None:
        """One forward over all slots; every slot's chunk then moves one step on, and slot n-1's x0 is the result."""
        plan = self.plan
        noise, flow = self._chunk_tensors()
        x = plan.state("x", flow.shape, "f32", "own")
        self._advance_ring("next")
        self.dit.cache.rebase(self.rebase)
        self._noise_mix(self.latents, noise, plan.view(x, (1, *x.shape[1:])))
        state = (self.timestep, self.frame_position, self.row_chunk, self.rebase)
        self.dit.forward("batch", x, flow, Batch(self.config.chunk_latents, *state))
        self._renoise(x, flow, self.x0, noise, "shift")

    def _sequential_chunk(self) -> None:
        noise, flow = self._chunk_tensors()
        x = self.plan.scratch("x", flow.shape, "f32")
        self._advance_ring("next")
        self.dit.cache.rebase(self.rebase)
        self._noise_mix(self.latents, noise, x)
        self._passes(x, flow, self.x0, noise, self.config.chunk_latents, self.config.history == "per_step")


def denoising_plan(model: ModelSpec, config: Config) -> Plan:
    """The plan of a model's denoising stream alone: latents in, x0 out."""
    stream = DenoisingStream(model, replace(config, decoder="none"))
    stream.add_phases()
    return stream.plan.finish()
