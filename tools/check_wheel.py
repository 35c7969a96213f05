#!/usr/bin/env python3
"""Builds the wheel and tries it where no source tree is: what is tested here is what users get.

    tools/check_wheel.py            in an environment that has hatchling

Every file of the package, scripts and `py.typed` included, must be in the wheel and in the sdist; then the
wheel is installed into an empty environment, and reads through an embedded server from there.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMOKE = """
import pathlib, sys
import holdfast
from holdfast._wire.script import Script
home = pathlib.Path(holdfast.__file__).parent
assert pathlib.Path(sys.prefix) in home.parents, home
for file in home.rglob("*.lua"):
    Script.parse(file.stem, file.read_text(encoding="utf-8"))  # not by import: some need an extra
with holdfast.Holdfast("embedded://") as hf:
    cache = hf.cache("smoke", ttl="1m", type=int)
    assert cache.get_or_set("answer", lambda: 42) == 42 == cache.get("answer")
print("the wheel works:", home)
"""


def main() -> None:
    """Build, look inside, install, run."""
    with tempfile.TemporaryDirectory(prefix="holdfast-wheel-") as name:
        work = Path(name)
        run(sys.executable, "-m", "hatchling", "build", "-d", str(work), cwd=ROOT)
        wheel = next(work.glob("*.whl"))
        with zipfile.ZipFile(wheel) as contents:
            check(wheel, set(contents.namelist()), "holdfast/")
        sdist = next(work.glob("*.tar.gz"))
        with tarfile.open(sdist) as archive:
            check(sdist, {name.partition("/")[2] for name in archive.getnames()}, "src/holdfast/")
        venv.create(work / "env", with_pip=True, symlinks=True)
        python = str(work / "env" / "bin" / "python")
        pip = (python, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-input")
        run(*pip, "-c", str(ROOT / "constraints.txt"), f"{wheel}[embedded]", cwd=work)
        run(python, "-c", SMOKE, cwd=work)


def check(archive: Path, inside: set[str], prefix: str) -> None:
    """Is every file of the package also in `archive`?"""
    package = ROOT / "src" / "holdfast"
    files = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    missing = [path for path in files if prefix + path.relative_to(package).as_posix() not in inside]
    if missing or not any(path.suffix == ".lua" for path in files):
        sys.exit(
            f"{archive.name} lacks {[str(path.relative_to(package)) for path in missing] or 'every script'}"
        )


def run(*command: str, cwd: Path) -> None:
    """Run `command` in `cwd`; its failure is ours."""
    if subprocess.call(command, cwd=cwd) != 0:
        sys.exit(f"failed: {' '.join(command[:6])} ...")


if __name__ == "__main__":
    main()
