"""``python -m tools.lessons build [NN ...]`` and ``python -m tools.lessons check``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from kdcourse.errors import KdcourseError
from tools.lessons.build import COMMAND, build, check


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 1 for an error, or for a notebook that has to be built."""
    parser = argparse.ArgumentParser(prog="python -m tools.lessons", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser(
        "build",
        help="run the lessons whose code changed, replace the prose of those whose prose changed",
    )
    building.add_argument("lessons", nargs="*", help="such as 04 or soft_targets; omit for all")
    building.add_argument("--force", action="store_true", help="run them even if nothing changed")
    commands.add_parser("check", help="list the notebooks that differ from their sources")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "build":
            build(chosen.lessons, force=chosen.force)
            return 0
        found = check()
    except KdcourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join([*found, f"Build them: {COMMAND}"] if found else ["All notebooks match their sources."]))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
