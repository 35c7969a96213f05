"""Several names at once, without deadlock. Begin with rules.py, which says what is promised."""
