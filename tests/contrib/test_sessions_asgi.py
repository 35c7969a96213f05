"""Sessions for Starlette and FastAPI: the cookie, the headers, login and logout."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from holdfast import AsyncHoldfast, ConfigurationError
from holdfast.contrib.fastapi import SessionMiddleware
from holdfast.contrib.sessions.cookie import CookiePolicy
from tests.contrib.asgi_sessions_shop import NAME, Shop, id_in

FORGED = "A" * 22


@pytest.fixture
def shop(ahf: AsyncHoldfast) -> Shop:
    return Shop(ahf)


# --- the cookie -------------------------------------------------------------------------------------------


async def test_a_request_that_does_not_touch_its_session_leaves_no_trace(shop: Shop):
    async with shop.client() as browser:
        answer = await browser.get("/free")
        assert not {"set-cookie", "vary", "cache-control"} & set(answer.headers)
        assert shop.sessions.stats().loaded == shop.sessions.stats().missing == 0


async def test_an_empty_session_sets_no_cookie_but_the_answer_depends_on_it(shop: Shop):
    async with shop.client() as browser:
        answer = await browser.get("/read")
        assert "set-cookie" not in answer.headers
        assert answer.headers["vary"] == "Cookie"
        assert answer.headers["cache-control"] == "no-store"
        assert shop.sessions.stats().created == 0


async def test_what_is_put_in_is_there_again(shop: Shop):
    async with shop.client() as browser:
        first = await browser.get("/put?key=a&value=1")
        name, _, rest = first.headers["set-cookie"].partition("=")
        id, *attributes = rest.split("; ")
        assert name == NAME
        assert attributes == ["Path=/", "HttpOnly", "Secure", "SameSite=lax".replace("lax", "Lax")]
        assert len(id) == 22
        second = await browser.get("/read")
        assert second.json() == {"a": "1"}
        assert "set-cookie" not in second.headers
        assert shop.sessions.stats().saved == 0


async def test_a_change_at_any_depth_is_written_and_nothing_else(shop: Shop):
    async with shop.client() as browser:
        for item in (1, 2, 3):
            assert (await browser.get(f"/nest?item={item}")).json() == {"items": [*range(1, item + 1)]}
        assert shop.sessions.stats().saved == 2  # the first one was created
        for _ in range(3):
            await browser.get("/read")
        assert shop.sessions.stats().saved == 2


@pytest.mark.parametrize("id", [FORGED, "nonsense", "%00", FORGED + "." + "B" * 11])
async def test_an_id_that_nobody_gave_out_is_not_taken_over(shop: Shop, id: str):
    async with shop.client(id) as browser:
        read = await browser.get("/read")
        assert read.json() == {}
        assert "set-cookie" not in read.headers  # another answer may have set a new one a moment ago
    async with shop.client(id) as browser:
        answer = await browser.get("/put?key=a&value=1")
        given = answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
        assert given != id
        assert await shop.sessions.load(id) is None
        assert await shop.sessions.load(given) is not None


async def test_the_applications_word_on_caching_counts_unless_a_cookie_is_set(shop: Shop):
    shop.headers = {"cache-control": "private, max-age=5", "vary": "Accept"}
    async with shop.client() as browser:
        read = await browser.get("/read")
        assert read.headers["cache-control"] == "private, max-age=5"
        assert read.headers["vary"] == "Accept, Cookie"
        put = await browser.get("/put?key=a&value=1")
        assert put.headers.get_list("cache-control") == ["no-store"]


async def test_plain_views_have_it_too(shop: Shop):
    async with shop.client() as browser:
        assert [(await browser.get("/threaded")).json() for _ in range(3)] == [1, 2, 3]


async def test_an_emptied_session_goes_on_and_a_cleared_one_ends(shop: Shop):
    async with shop.client() as browser:
        await browser.get("/put?key=a&value=1")
        id = id_in(browser)
        assert "set-cookie" not in (await browser.post("/drop?key=a")).headers
        assert (await browser.get("/read")).json() == {}
        answer = await browser.post("/clear")
        assert f'{NAME}=""; expires=Thu, 01 Jan 1970' in answer.headers["set-cookie"]
        assert await shop.sessions.load(id) is None


async def test_a_persistent_cookie_is_set_once_for_as_long_as_the_session_lasts(ahf: AsyncHoldfast):
    shop = Shop(ahf, {"absolute": "2h"}, persistent=True)
    async with shop.client() as browser:
        assert "Max-Age=7200;" in (await browser.get("/put?key=a&value=1")).headers["set-cookie"]
        assert "set-cookie" not in (await browser.get("/put?key=a&value=2")).headers


async def test_staying_signed_in_is_said_at_login(ahf: AsyncHoldfast):
    shop = Shop(ahf, persistent=True)
    async with shop.client() as browser:
        await browser.get("/put?key=a&value=1")
        answer = await browser.post("/login?name=ann&stay=30d")
        assert "Max-Age=2592000;" in answer.headers["set-cookie"]
        session = await shop.sessions.load(id_in(browser))
        assert session is not None
        assert session.idle == 30 * 24 * 3600


# --- login, logout ----------------------------------------------------------------------------------------


async def test_login_changes_the_id_and_keeps_what_nobody_had(shop: Shop):
    async with shop.client() as browser:
        await browser.get("/put?key=cart&value=7")
        before = id_in(browser)
        await browser.post("/login?name=ann")
        after = id_in(browser)
        assert after != before
        assert (await browser.get("/read")).json() == {"cart": "7"}
        assert (await browser.get("/user")).json() == "ann"
    async with shop.client(before) as thief:
        assert (await thief.get("/user")).json() is None
        assert (await thief.get("/read")).json() == {}
    assert [one.user for one in await shop.sessions.list("ann")] == ["ann"]


async def test_login_without_a_session_begins_one(shop: Shop):
    async with shop.client(FORGED) as browser:
        await browser.post("/login?name=ann")
        assert (await browser.get("/user")).json() == "ann"


async def test_another_user_gets_nothing_of_the_one_before(shop: Shop):
    async with shop.client() as browser:
        await browser.post("/login?name=ann")
        await browser.get("/put?key=secret&value=1")
        before = id_in(browser)
        assert (await browser.post("/login?name=bob")).json() == {}
        assert (await browser.get("/read")).json() == {}
        assert await shop.sessions.load(before) is None
        assert await shop.sessions.list("ann") == []


async def test_a_second_login_of_the_same_user_changes_the_id_once_more(shop: Shop):
    async with shop.client() as browser:
        await browser.post("/login?name=ann")
        await browser.get("/put?key=a&value=1")
        before = id_in(browser)
        await browser.post("/login?name=ann")
        assert id_in(browser) != before
        assert (await browser.get("/read")).json() == {"a": "1"}


async def test_logout_ends_the_session_and_deletes_the_cookie(ahf: AsyncHoldfast):
    shop = Shop(ahf, clear_site_data=True)
    async with shop.client() as browser:
        await browser.post("/login?name=ann")
        id = id_in(browser)
        answer = await browser.post("/logout")
        assert "Max-Age=0" in answer.headers["set-cookie"]
        assert answer.headers["clear-site-data"] == '"cache", "cookies", "storage"'
        assert NAME not in browser.cookies
    async with shop.client(id) as thief:
        assert (await thief.get("/user")).json() is None


async def test_revoke_all_signs_a_browser_out(shop: Shop):
    async with shop.client() as one, shop.client() as other:
        for browser in (one, other):
            await browser.post("/login?name=ann")
        await shop.sessions.revoke_all("ann", keep=id_in(other))
        assert (await one.get("/user")).json() is None
        assert (await other.get("/user")).json() == "ann"


async def test_a_library_that_notes_the_user_in_the_session_is_followed(ahf: AsyncHoldfast):
    shop = Shop(ahf, user_key="_user_id")
    async with shop.client() as browser:
        await browser.get("/put?key=cart&value=7")
        ids = [id_in(browser)]
        await browser.get("/put?key=_user_id&value=ann")
        ids.append(id_in(browser))
        assert (await browser.get("/user")).json() == "ann"
        assert await shop.sessions.load(ids[0]) is None
        await browser.get("/put?key=_user_id&value=bob")
        ids.append(id_in(browser))
        assert (await browser.get("/user")).json() == "bob"
        assert await shop.sessions.load(ids[1]) is None
        await browser.post("/drop?key=_user_id")
        ids.append(id_in(browser))
        assert (await browser.get("/read")).json() == {"cart": "7"}
        assert (await browser.get("/user")).json() is None
        assert await shop.sessions.load(ids[2]) is None
        assert len(set(ids)) == 4


async def test_an_old_id_is_replaced_by_itself(ahf: AsyncHoldfast):
    shop = Shop(ahf, {"renew_after": "1ms"})
    async with shop.client() as browser:
        await browser.get("/put?key=a&value=1")
        before = id_in(browser)
        await asyncio.sleep(0.005)
        free = await browser.get("/free")
        assert not {"set-cookie", "vary", "cache-control"} & set(
            free.headers
        )  # that one may be kept by caches
        assert (await browser.get("/read")).json() == {"a": "1"}
        assert id_in(browser) != before


async def test_what_is_noted_of_a_request_is_listed(ahf: AsyncHoldfast):
    shop = Shop(ahf, about=lambda scope: {"agent": dict(scope["headers"])[b"user-agent"].decode()})
    async with shop.client() as browser:
        browser.headers["user-agent"] = "phone"
        await browser.post("/login?name=ann")
    assert [one.about for one in await shop.sessions.list("ann")] == [{"agent": "phone"}]


# --- wrong settings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"samesite": "Lax"}, "samesite='Lax'"),
        ({"samesite": "none", "secure": False}, "needs secure=True"),
        ({"cookie": "__Host-x", "path": "/app"}, "__Host-x"),
        ({"cookie": "__Host-x", "domain": "shop.example"}, "no domain"),
        ({"cookie": "__Secure-x", "secure": False}, "__Secure-x"),
        ({"cookie": "a b"}, "a b"),
        ({"cookie": ""}, "cookie=''"),
        ({"path": "app"}, "path='app'"),
        ({"domain": "x; Secure"}, "domain="),
        ({"away": "open"}, "away='open'"),
    ],
)
def test_nonsense_is_refused(policy: Any, message: str):
    with pytest.raises(ConfigurationError, match=message):
        CookiePolicy(**policy)


@pytest.mark.parametrize(
    ("policy", "name"),
    [
        ({}, "__Host-session"),
        ({"secure": False}, "session"),
        ({"path": "/app"}, "__Secure-session"),
        ({"domain": "shop.example"}, "__Secure-session"),
        ({"cookie": "sid"}, "sid"),
    ],
)
def test_the_name_says_as_much_as_it_may(policy: Any, name: str):
    assert CookiePolicy(**policy).name == name


def test_sessions_of_a_type_that_is_no_dict_are_refused(ahf: AsyncHoldfast):
    class Cart(msgspec.Struct):
        items: list[int] = []

    app: Any = None
    with pytest.raises(ConfigurationError, match="dict"):
        SessionMiddleware(app, ahf.sessions(type=Cart))
