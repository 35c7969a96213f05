"""A shop whose customers may search so often; who buys most, and what is sold, is counted by the way.

Run it: HOLDFAST_URL=embedded:// uvicorn examples.shop_limits:app
Then:   curl -i localhost:8000/search -H "X-Api-Key: ann"        (more than five times)
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from holdfast import AsyncHoldfast, Limit
from holdfast.contrib.limits import LimitRule, by_header
from holdfast.contrib.starlette import RateLimitMiddleware

hf = AsyncHoldfast()  # HOLDFAST_URL says where; nothing is sent yet
searches = hf.limiter("searches", [Limit(5, "1m"), Limit(100, "1h")])
buyers = hf.leaderboard("buyers", mode="add", periods=("day", "all"))
hits = hf.analytics("shop")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with hf:
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(
    RateLimitMiddleware,
    rules=[LimitRule(searches, key=by_header("X-Api-Key"), routes=["/search"])],
    headers="both",
)


@app.get("/search")
async def search() -> dict[str, str]:
    await hits.count("search")
    return {"found": "a hat"}


@app.post("/buy/{who}")
async def buy(who: str, price: int) -> dict[str, Any]:
    await hits.count("sold", price, tags={"what": "hat"})
    standing = await buyers.submit(who, price)
    return {"rank": standing.rank, "spent": standing.score}


@app.get("/report")
async def report() -> dict[str, Any]:
    today = await hits.query("sold", "1d", since="1d", tags={"what": "hat"})
    return {
        "sold today": today[-1].value,
        "best": [(row.member, row.score) for row in await buyers.top(3)],
    }
