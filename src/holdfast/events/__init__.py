"""Event sourcing: what happened is the truth, and all else is made of it. See rules.py."""
