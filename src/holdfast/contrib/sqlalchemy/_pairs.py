"""Types that differ between the twins; both by hand, since the generator knows no names of SQLAlchemy."""

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

__all__ = ["Connection", "Engine", "AsyncConnection", "AsyncEngine"]
