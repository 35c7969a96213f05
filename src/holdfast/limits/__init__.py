"""Rate limits: how often whom may do what, decided by the whole fleet together. Start in rules.py."""
