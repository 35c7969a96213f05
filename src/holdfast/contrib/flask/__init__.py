"""Rate limits and sessions for Flask.

RateLimits        limits the requests of an application, and tells of limits in headers
limited           limits one view
SessionInterface  `flask.session`, kept by the server; login, logout

Needs: pip install "holdfast[flask]". What is promised stands in holdfast.contrib.limits and
holdfast.contrib.sessions.
"""

from holdfast.contrib._extra import need

need("flask")

from holdfast.contrib.flask.limits import RateLimits, limited  # noqa: E402 (the line above explains its absence)
from holdfast.contrib.flask.sessions import SessionInterface, login, logout  # noqa: E402

__all__ = ["RateLimits", "limited", "SessionInterface", "login", "logout"]
