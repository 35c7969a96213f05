#!/usr/bin/env python3
"""Asks pyright what a user's type checker sees, and fails if any symbol has no known type.

An attribute that shows its type by its first value (`self.lag = 0.0`) is known well enough.

    tools/public_types.py           in an environment that has pyright and the package
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """The command line; returns the exit status."""
    command = [
        sys.executable,
        "-m",
        "pyright",
        "--verifytypes",
        "holdfast",
        "--ignoreexternal",
        "--outputjson",
    ]
    # It looks for the package with the first python on PATH, which need not be this one.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    env = {**os.environ, "PATH": path}
    found = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    report = json.loads(found.stdout)["typeCompleteness"]
    symbols = report["symbols"]
    unknown = [one["name"] for one in symbols if not (one["isTypeKnown"] or one["isTypeAmbiguous"])]
    for name in unknown:
        print(f"the type of {name} is not known to a user's type checker", file=sys.stderr)
    print(f"{len(symbols)} symbols, {len(unknown)} without a known type")
    return 1 if unknown or not symbols else 0


if __name__ == "__main__":
    sys.exit(main())
