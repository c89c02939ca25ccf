"""The main job without any download: a generated clip through the packaged model into another video."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import penstock
from penstock.commands.build import parse_size
from penstock.commands.output import FrameBar
from penstock.evaluation.styles import STYLES
from penstock.run_video import RunReport, run_video
from penstock.video import contact_sheet, generate_clip

FPS = Fraction(16)
PROMPT = "a watercolour"
COLUMNS = 6  # of the contact sheet

NEXT = """\
The packaged model is small and knows eight styles; try --prompt with one of
  {styles}
docs/quality.md says how well it does.

next, with the weights of a big model (README.md says where each file comes from):
  penstock convert model.pt wan-1.3b --text UMT5      # the causal DiT, and where its text encoder is
  penstock convert Wan2.1_VAE.pth wan-1.3b            # the video autoencoder, into the same directory
  penstock run {clip} --prompt "{prompt}" -o {out}/wan.mp4 --model wan-1.3b
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=49, help="of the clip, 16 a second (default 49)")
    parser.add_argument("--size", default="160x288", help="height and width (default 160x288)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder to write to (default out)")
    parser.add_argument("--prompt", default=PROMPT, help=f"what the clip shall become (default {PROMPT!r})")
    options = parser.parse_args()
    size = parse_size(options.size)
    clip, result, sheet = (options.out / name for name in ("input.mp4", "output.mp4", "contact_sheet.png"))

    options.out.mkdir(parents=True, exist_ok=True)
    with penstock.VideoWriter(clip, FPS, size) as writer:
        for frame in generate_clip(options.frames, size):
            writer.write(frame)
    print(f"input    {clip}: {options.frames} frames of {options.size}, {float(options.frames / FPS):.1f} s")

    report = run_tiny(clip, result, size, options.prompt)
    print(f"output   {result}: {report.frames_out} frames in {report.seconds:.1f} s, {report.fps:.1f} frames/s")
    phases = [f"{name} {phase['mean_ms']:.0f} ms" for name, phase in report.phases.items()]
    print(f"phases   {', '.join(phases)}")

    step = -(-options.frames // COLUMNS)
    contact_sheet([list(penstock.read_video(video))[::step] for video in (clip, result)], sheet)
    print(f"look at  {sheet}: input over output\n")
    styles = ", ".join(repr(style.prompt) for style in STYLES)
    print(NEXT.format(clip=clip, prompt=options.prompt, out=options.out, styles=styles), end="")


def run_tiny(clip: Path, result: Path, size: tuple[int, int], prompt: str) -> RunReport:
    """What `penstock run` does: every frame of the clip through a session into the result."""
    model = penstock.load("tiny")
    with (
        model.session(prompt, height=size[0], width=size[1]) as session,
        penstock.read_video(clip, size) as video,
        penstock.VideoWriter(result, video.info.fps, size) as writer,
        FrameBar(video.info.frame_count) as bar,
    ):
        memory = session.stats()["memory_bytes"] / 2**20
        steps = session.config.steps
        print(f"model    tiny, {steps} denoising steps as one stream batch, {memory:.0f} MiB for the stream")
        print(f"prompt   {prompt}")
        return run_video(session, video, writer, bar.update)


if __name__ == "__main__":
    main()
