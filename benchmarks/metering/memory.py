"""What everything on a server takes."""

from __future__ import annotations

from holdfast import Holdfast


def of_all(hf: Holdfast) -> int:
    """Bytes of all keys, as the server tells of each."""
    total, cursor = 0, b"0"
    while True:
        reply = hf.execute("SCAN", cursor, "COUNT", 1000)
        assert isinstance(reply, list)
        cursor, keys = reply
        for key in keys:
            size = hf.execute("MEMORY", "USAGE", key, "SAMPLES", 0)
            assert isinstance(size, int)
            total += size
        if cursor == b"0":
            return total
