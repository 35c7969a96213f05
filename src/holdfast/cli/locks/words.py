"""Counts in sentences. Pure."""

from __future__ import annotations


def counted(count: int, one: str, several: str) -> str:
    """`count` and what it does: 1 process waits, 2 processes wait."""
    return f"{count:,} {one if count == 1 else several}"


def waiting(count: int) -> str:
    """How many wait."""
    return f"{count:,} waiting"
