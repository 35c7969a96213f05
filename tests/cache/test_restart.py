"""After a restart with AOF the cache is warm, and nothing that was invalidated before is back."""

from __future__ import annotations

from pathlib import Path

from holdfast import MISSING, Holdfast, embedded


def test_a_restart_with_aof_is_warm_and_brings_nothing_back(tmp_path: Path):
    """Killed, not stopped: a killed process loses nothing that the operating system has taken."""
    with embedded.start(tmp_path / "data") as server, Holdfast(server.url, timeout="10s") as hf:
        users = hf.cache("users", ttl="1h", stale="1h")
        cleared = hf.cache("cleared", ttl="1h")
        users.set_many({key: f"user {key}" for key in range(20)})
        users.set("tagged", 1, tags=["org:1"])
        users.set("versioned", 1, version=1)
        cleared.set("k", 1)
        users.invalidate(3)
        users.set(4, "newer")
        users.expire(5)
        users.invalidate_tags("org:1")
        users.invalidate("versioned", version=2, hold="1h")
        cleared.clear()
        late: list[str] = []

        def slow() -> str:
            """A load that is under way when the server dies, and lands after the restart."""
            users.invalidate(6)
            server.kill()
            server.restart()
            late.append("loaded")
            return "what was there before the invalidation"

        users.invalidate(6)
        users.get_or_set(6, slow)

        assert late == ["loaded"]
        assert users.get_many(range(20)).keys() == set(range(20)) - {3, 5, 6}
        assert users.get(4) == "newer"
        assert users.get(5) is MISSING and users.get_or_set(5, lambda: 1 / 0) == "user 5"
        assert users.get("tagged") is MISSING and cleared.get("k") is MISSING
        assert users.set("versioned", 0, version=1) is False and users.get("versioned") is MISSING
