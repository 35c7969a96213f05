"""What the tests of `holdfast locks` have in common."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from holdfast import Holdfast
from holdfast.cli.__main__ import main
from holdfast.errors import LockError

Run = Callable[..., Any]


@pytest.fixture
def locks(place: Any, namespace: str, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command against this test's server; what --json printed, or the text if `text=True`."""

    def run(*words: str, code: int = 0, text: bool = False) -> Any:
        capsys.readouterr()
        told = ["--url", place.url, "--namespace", namespace, *([] if text else ["--json"])]
        assert main(["locks", *words, *told]) == code
        printed = capsys.readouterr()
        out = printed.out + (printed.err if text else "")
        return out if text or not out else json.loads(out)

    return run


@pytest.fixture
def hold(hf: Holdfast) -> Iterator[Callable[..., Any]]:
    """Acquires a lock, and holds it until the test is over."""
    held: list[Any] = []

    def acquire(name: str, **options: Any) -> Any:
        held.append(hf.lock(name, **options).acquire())
        return held[-1]

    yield acquire
    for lease in held:
        with contextlib.suppress(LockError):
            lease.release()
