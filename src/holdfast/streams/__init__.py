"""Streams: events that are published once and handled until it is done. See rules.py."""
