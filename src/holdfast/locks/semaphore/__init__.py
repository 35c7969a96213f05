"""So many at a time, each under a lease. Begin with rules.py, which says what is promised."""
