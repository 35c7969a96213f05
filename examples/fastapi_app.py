"""A cached endpoint in ten lines. Run it: HOLDFAST_URL=embedded:// uvicorn examples.fastapi_app:app"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from holdfast import AsyncHoldfast

SLOW_TABLE = {"BOS": "Boston", "ZRH": "Zürich"}
queries = 0

# --- ten lines
hf = AsyncHoldfast()  # HOLDFAST_URL says where; nothing is sent yet


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with hf:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/airports/{code}")
@hf.cache("airports", ttl="1m").cached("{code}")
async def airport(code: str) -> dict[str, str | None]:
    return await query(code)


# --- and one that invalidates


@app.put("/airports/{code}")
async def rename(code: str, name: str) -> bool:
    SLOW_TABLE[code] = name
    return await airport.invalidate(code)


async def query(code: str) -> dict[str, str | None]:
    """What takes long."""
    global queries  # noqa: PLW0603
    queries += 1
    return {"code": code, "name": SLOW_TABLE.get(code)}
