"""A live stream from Python: frames go in one by one, and prompt and noise change while they do.

python examples/stream_video.py in.mp4 out.mp4 --model wan-1.3b
"""

from __future__ import annotations

import argparse

import penstock

PROMPTS = {0: "a watercolour of a harbour", 6: "the same harbour at night", 12: "a pencil drawing"}  # from chunk on


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--model", default="tiny", help="model directory (default: tiny, packaged)")
    parser.add_argument("--height", type=int, default=160)
    parser.add_argument("--width", type=int, default=288)
    options = parser.parse_args()
    size = (options.height, options.width)

    session = penstock.load(options.model).session(PROMPTS[0], height=options.height, width=options.width, steps=2)
    video = penstock.read_video(options.input, size, fit="crop")
    with session, video, penstock.VideoWriter(options.output, video.info.fps, size) as writer:
        for finished in session.stream(video):  # a camera's frames would go in with session.push(frame)
            writer.write(finished)
            chunk = session.stats()["chunks"]
            if session.prompt != (prompt := PROMPTS.get(chunk, session.prompt)):
                session.prompt = prompt  # counts from the next chunk on; the stream goes on
                session.noise_scale = 0.7  # less noise keeps more of the input
                print(f"chunk {chunk}: {prompt}")
        stats = session.stats()
    print(f"{stats['frames_in']} frames in, {stats['frames_out']} out, {stats['chunks']} chunks")
    for name, phase in stats["phases"].items():
        if phase["runs"]:
            print(f"{name:<14} {phase['runs']:>4} runs, {phase['total_ms'] / phase['runs']:7.1f} ms each")


if __name__ == "__main__":
    main()
