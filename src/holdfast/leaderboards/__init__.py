"""Leaderboards: who stands where, with ties, periods and members of any number. See rules.py."""
