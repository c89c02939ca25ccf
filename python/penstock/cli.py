"""The command line: ``penstock COMMAND``. Every failure is one clear line on stderr and exit code 1."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from penstock import PenstockError, __version__
from penstock.commands import bench, build, config, convert, doctor, embed, eval, info, run, synth

COMMANDS = (run, convert, synth, build, embed, eval, bench, info, config, doctor)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="penstock", description="A real-time video-diffusion runtime.")
    parser.add_argument("--version", action="version", version=f"penstock {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        name = command.__name__.rsplit(".", 1)[-1]
        # "resolve": bench has another --json.
        subparser = subparsers.add_parser(
            name, help=command.HELP, description=command.__doc__, conflict_handler="resolve"
        )
        subparser.add_argument("--json", action="store_true", help="print the result as JSON")
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = make_parser().parse_args(arguments)
    try:
        options.run(options)
    except PenstockError as error:
        print(f"penstock: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        done = f": {interrupt}" if str(interrupt) else ""
        print(f"penstock: interrupted{done}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        sys.stderr.close()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
