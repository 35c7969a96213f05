"""One of many that works, and the others ready to take over. Begin with rules.py: what is promised."""
