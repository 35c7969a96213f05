"""Waiting until all have arrived. Begin with rules.py, which says what is promised."""
