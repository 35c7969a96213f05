"""Publish and subscribe, with a memory. See rules.py."""
