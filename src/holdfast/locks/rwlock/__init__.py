"""Many readers or one writer. Begin with rules.py, which says what is promised."""
