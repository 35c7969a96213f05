"""Sessions for Starlette and FastAPI: an id that is only old fails nobody, and a late logout counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import Request
from fastapi.responses import StreamingResponse

from holdfast import AsyncHoldfast, ConfigurationError
from holdfast.errors import Refused
from tests.contrib.asgi_sessions_shop import Shop, id_in


async def _old(ahf: AsyncHoldfast, **policy: Any) -> tuple[Shop, str]:
    shop = Shop(ahf, {"renew_after": "1ms"}, **policy)
    session = await shop.sessions.create("ann", {"a": 1})
    await asyncio.sleep(0.005)
    return shop, session.id


async def test_where_no_new_id_can_be_made_the_old_one_serves(ahf: AsyncHoldfast, monkeypatch: Any):
    shop, id = await _old(ahf)

    async def full(*args: Any, **named: Any) -> None:
        raise Refused("OOM command not allowed when used memory > 'maxmemory'", code="OOM")

    monkeypatch.setattr(shop.sessions, "rotate", full)
    async with shop.client(id) as browser:
        answer = await browser.get("/read")
        assert (answer.status_code, answer.json()) == (200, {"a": 1})
        assert "set-cookie" not in answer.headers
        assert (await browser.get("/put?key=b&value=2")).status_code == 200
        assert (await browser.get("/read")).json() == {"a": 1, "b": "2"}
        assert (await browser.post("/login?name=ann")).status_code == 503  # that one has to have a new id
        assert (await browser.post("/regenerate")).status_code == 503


@pytest.mark.parametrize(("path", "status"), [("/read", 200), ("/slow?key=b", 409)])
async def test_who_has_only_read_is_answered_though_the_session_has_ended(
    ahf: AsyncHoldfast, path: str, status: int
):
    shop, id = await _old(ahf)
    rotate = shop.sessions.rotate
    shop.go.set()

    async def late(*args: Any, **named: Any) -> Any:
        await shop.sessions.revoke(id)
        return await rotate(*args, **named)

    shop.sessions.rotate = late  # type: ignore[method-assign]
    async with shop.client(id) as browser:
        assert (await browser.get(path)).status_code == status


@pytest.mark.parametrize("lazy", [False, True])
async def test_an_old_id_does_not_forbid_a_late_change(ahf: AsyncHoldfast, lazy: bool):
    shop, id = await _old(ahf, lazy=lazy)

    async def view(request: Request) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"a"
            if lazy:
                await request.session.load()  # type: ignore[attr-defined]
            request.session["late"] = 1
            yield b"b"

        return StreamingResponse(parts())

    shop.app.get("/streamed")(view)
    async with shop.client(id) as browser:
        assert (await browser.get("/streamed")).text == "ab"
    assert shop.errors == []
    session = await shop.sessions.load(id)
    assert session is not None and session.data == {"a": 1, "late": 1}


async def test_a_late_logout_counts_even_if_what_comes_behind_it_cannot_be_kept(ahf: AsyncHoldfast):
    shop = Shop(ahf)

    async def view(request: Request) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"a"
            request.session.clear()
            request.session["bye"] = 1

        return StreamingResponse(parts())

    shop.app.get("/streamed")(view)
    async with shop.client() as browser:
        await browser.post("/login?name=ann")
        await browser.get("/streamed")
        assert [type(error) for error in shop.errors] == [ConfigurationError]
        assert await shop.sessions.load(id_in(browser)) is None
