"""A server that has lost everything, and is counted at all the same."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import Holdfast


def by_page(hits: Any) -> dict[str, float]:
    found = hits.query("hit", "1d", since="2d", by="page")
    return {page: sum(point.value for point in points) for page, points in found.items()}


@pytest.mark.parametrize("another_was_faster", [False, True])
def test_series_are_told_again_to_a_server_that_has_lost_them(
    server: Any, hf: Holdfast, namespace: str, another_was_faster: bool
):
    """found: known for an hour, so `by=` and `tags=` did not see what was counted after a FLUSHALL."""
    with Holdfast(server.url, namespace=namespace) as other:
        for one in (hf, other):
            one.analytics("shop").count("hit", tags={"page": "a"})
            one.analytics("shop").flush()
        assert by_page(hf.analytics("shop")) == {"a": 2}
        for key in hf.execute("KEYS", f"{namespace}:*"):
            hf.execute("DEL", key)
        if another_was_faster:
            other.analytics("shop").count("hit", tags={"page": "b"})
            other.analytics("shop").flush()
        hf.analytics("shop").count("hit", tags={"page": "a"})
        expected = {"a": 1.0} | ({"b": 1.0} if another_was_faster else {})
        assert by_page(hf.analytics("shop")) == expected
        assert [one.name for one in hf.analytics("shop").metrics()] == ["hit"]
