"""What the pages show is run: their Python on a real server, their config files by `from_config`."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import Holdfast
from tests.docs.blocks import ROOT, blocks, run

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = [page for page in PAGES if blocks(page, "python")]
FILES = [(page, kind) for page in PAGES for kind in ("yaml", "toml") if blocks(page, kind)]


@pytest.mark.parametrize("page", CODE, ids=lambda page: page.stem)
def test_its_code_does_what_it_says(page: Path, server, monkeypatch, tmp_path):
    monkeypatch.setenv("HOLDFAST_URL", server.url)
    monkeypatch.chdir(tmp_path)
    with Holdfast(server.url) as hf:
        hf.execute("FLUSHDB")  # pages use the default namespace, on a server that the run shares

    run(page)


@pytest.mark.parametrize(("page", "kind"), FILES, ids=lambda one: getattr(one, "stem", one))
def test_its_config_files_are_accepted(page: Path, kind: str, tmp_path):
    for line, content in blocks(page, kind):
        file = tmp_path / f"line-{line}.{kind}"
        file.write_text(content, encoding="utf-8")

        assert Holdfast.from_config(file)


def test_the_readme_shows_the_quickstart_as_it_is():
    [(_, shown)] = blocks(ROOT / "README.md", "python")
    _, _, code = (ROOT / "examples" / "quickstart.py").read_text(encoding="utf-8").split('"""', 2)

    assert shown.strip() == code.strip()
