"""Counters and other figures of what happens now, over time. See rules.py."""
