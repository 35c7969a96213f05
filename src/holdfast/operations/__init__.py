"""Pending operations that survive their process. See rules.py."""
