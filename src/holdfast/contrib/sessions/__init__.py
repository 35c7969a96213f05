"""Sessions in cookies, for Starlette, FastAPI and Flask alike.

The cookie carries an id and nothing else; what belongs to it stands on the server (holdfast.sessions).

Promised, by every backend of ours:

* A cookie whose id nobody gave out is never taken over: a session that is written gets an id of its own.
* `login` changes the id, and what another user had left in the session is dropped. `logout` ends it at once,
  and no request that is still under way brings it back: what such a request has changed is refused with 409.
* A request that does not touch the session sets no cookie, and an empty session of nobody is not begun.
  Only keys that were changed are written, so requests at the same time do not undo each other's work.
* An answer that depends on the session says `Vary: Cookie` and, unless the application says otherwise,
  `Cache-Control: no-store`; one that sets the cookie always says so.
* While the server is away a request that needs its session is answered with 503 (`away="refuse"`), or is
  treated as nobody's (`away="anonymous"`); one that has changed it is answered with 503 in any case. Nothing
  is lost in silence, and nobody is signed out by an outage.
* A dead id does not make us delete the cookie: another answer may have replaced it a moment ago. It is
  deleted by `logout`, and by `clear`, which is the same.

* An id that is only old (`renew_after`) is replaced when that can be done; a request does not fail for it.

Not promised: that two requests that change the same key at the same time both win; the later one does. What
is changed after the answer has begun is still written, unless that takes a new cookie: then it is an error.
A request that ends with an exception, of which nobody makes an answer, keeps nothing.

cookie.py        the cookie, and the answers when there is no session to be had
web_session.py   the session of one request: a dict, and what becomes of it
_settling_*.py   the way to the server and back

Django has a model of sessions of its own: see holdfast.contrib.django.sessions.
"""
