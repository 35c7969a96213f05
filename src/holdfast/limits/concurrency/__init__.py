"""So many at a time for each subject. Begin with rules.py, which says what is promised."""
