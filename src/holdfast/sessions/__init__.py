"""Sessions of a web application, kept by the server. See rules.py."""
