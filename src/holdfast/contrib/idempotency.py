"""What the `Idempotency-Key` header means, for every framework. Pure.

After the IETF draft "The Idempotency-Key HTTP Header Field": a client that did not hear the answer to a POST
sends it again with the same key, and gets the answer of the first one. The work is done once.

Promised, where the middleware stands before the view:

* Of the requests with one key, one runs at a time. The answer of the first that ended is kept for the
  operations' `ttl` before it is sent, and given to all that follow, with `Idempotency-Replayed: true`.
* Another request (method, path, query or body) under the same key is refused with 422. A duplicate of one
  that is running waits for its answer, for `wait` at most, and is told 409 then.
* An answer that says "try again" (5xx, 401, 403, 408, 409, 425, 429; see `keeps`) is not kept: the next
  request with the key runs.
* While the server is away, requests with a key are refused with 503: who sends a key wants it to hold.
* A process that is killed in the middle: by default the next request with the key runs the view again
  (`interrupted="run"`), which is right if the view is idempotent by other means or uses
  `holdfast.current_operation()`; `interrupted="refuse"` answers 409 instead, since nobody knows how it ended.

Not promised: that keys of different users are told apart by anything but `scope`, which is the
`Authorization` header unless you say otherwise. With sessions in cookies, give `scope=`. Cookies that an
answer set are not replayed, nor is the body of an answer that is larger than `max_response`: then duplicates
are told 409.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypedDict

import msgspec

from holdfast.durations import Duration, seconds
from holdfast.errors import (
    ConfigurationError,
    ConflictError,
    OperationBusy,
    OperationDead,
    Refused,
    Unavailable,
)
from holdfast.sizes import Size, size

REPLAYED: Final = "Idempotency-Replayed"

_KEY = re.compile(
    r'(?P<quote>"?)([!#-\[\]-~]{1,255})(?P=quote)'
)  # visible ASCII, as a bare or a quoted string
_AGAIN = frozenset({401, 403, 408, 409, 425, 429})
_NOT_REPLAYED = frozenset(
    {"set-cookie", "date", "connection", "keep-alive", "transfer-encoding", "content-length", "server"}
)

Headers = Iterable[tuple[str, str]]


def _keeps(status: int) -> bool:
    return status < 500 and status not in _AGAIN


def _authorization(headers: Mapping[str, str]) -> str:
    return headers.get("authorization", "")


class PolicyKeywords(TypedDict, total=False):
    """The arguments of a middleware beside its operations; see IdempotencyPolicy."""

    methods: tuple[str, ...]
    header: str
    required: bool | Callable[[str], bool]
    scope: Callable[[Mapping[str, str]], str]
    wait: Duration
    interrupted: Literal["run", "refuse"]
    keeps: Callable[[int], bool]
    max_response: Size
    max_request: Size


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyPolicy:
    """How a middleware treats `Idempotency-Key`.

    `methods`: to which it applies. `required`: refuse requests without a key (400); a function of the path
    may decide. `scope`: whose key it is, from the headers (lower case); keys of different scopes are
    different. `wait`: how long a duplicate waits for the answer of the one that is running; 0: not at all.
    `interrupted`: "run" or "refuse", see above. `keeps`: is the answer with this status kept? `max_response`:
    of the body that is kept; `max_request`: of the body that is compared.

    Raises: ConfigurationError that names the option and its value.
    """

    methods: tuple[str, ...] = ("POST", "PATCH")
    header: str = "Idempotency-Key"
    required: bool | Callable[[str], bool] = False
    scope: Callable[[Mapping[str, str]], str] = _authorization
    wait: Duration = "10s"
    interrupted: Literal["run", "refuse"] = "run"
    keeps: Callable[[int], bool] = _keeps
    max_response: Size = "1MiB"
    max_request: Size = "8MiB"
    most_kept: int = field(init=False, repr=False, compare=False)
    most_compared: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        if isinstance(self.methods, str) or not all(isinstance(one, str) for one in self.methods):
            raise ConfigurationError(f'methods={self.methods!r} must be names, as in ("POST", "PATCH")')
        put(self, "methods", tuple(one.upper() for one in self.methods))
        if self.interrupted not in ("run", "refuse"):
            raise ConfigurationError(f'interrupted={self.interrupted!r} must be "run" or "refuse"')
        seconds(self.wait, "wait", zero=True)
        put(self, "most_kept", size(self.max_response, "max_response"))
        put(self, "most_compared", size(self.max_request, "max_request"))

    @property
    def after_a_crash(self) -> Literal["run", "raise"]:
        """`interrupted`, as operations call it."""
        return "run" if self.interrupted == "run" else "raise"

    def requires(self, path: str) -> bool:
        """Must a request to `path` have a key?"""
        return self.required(path) if callable(self.required) else self.required


class Answer(NamedTuple):
    """An answer: of a view, as it is kept, or one that says why there is none. `body` None: too large to be
    kept.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes | None


class Question(NamedTuple):
    """What is asked for under a key."""

    key: str
    fingerprint: str


def key_of(policy: IdempotencyPolicy, method: str, path: str, found: str | None) -> str | Answer | None:
    """The key of a request; None if it needs none; or the answer that refuses it."""
    if method not in policy.methods:
        return None
    if found is None:
        if not policy.requires(path):
            return None
        return problem(400, f"{policy.header} is missing", f"This request needs the header {policy.header}.")
    key = _KEY.fullmatch(found.strip())
    if key is None:
        detail = f"{policy.header} must be 1 to 255 visible ASCII characters, for example a UUID."
        return problem(400, f"{policy.header} is not valid", detail)
    return key[2]


def question(
    policy: IdempotencyPolicy, headers: Mapping[str, str], key: str, target: str, body: bytes
) -> Question:
    """What is asked for: `target` is method, path and query; `body` as much of it as is compared."""
    whose = hashlib.sha256(policy.scope(headers).encode()).hexdigest()[:16]
    asked = hashlib.sha256(target.encode() + b"\n" + body).hexdigest()[:32]
    return Question(f"{whose}:{key}", asked)


_write = msgspec.msgpack.Encoder().encode
_read = msgspec.msgpack.Decoder(tuple[int, list[tuple[str, str]], bytes | None]).decode


def kept(policy: IdempotencyPolicy, answer: Answer) -> bytes:
    """`answer` as it is stored."""
    headers = [(name, value) for name, value in answer.headers if name.lower() not in _NOT_REPLAYED]
    fits = answer.body is not None and len(answer.body) <= policy.most_kept
    return _write((answer.status, headers, answer.body if fits else None))


def replayed(stored: bytes) -> Answer:
    """The answer that was stored."""
    status, headers, body = _read(stored)
    if body is None:
        detail = f"It was answered with status {status}; the answer was too large to be kept."
        return problem(409, "The request was completed before", detail)
    return Answer(status, [*headers, (REPLAYED, "true")], body)


def refusal(error: Exception) -> Answer | None:
    """What to answer to a request that could not begin; None if `error` is none of these."""
    match error:
        case ConflictError():
            detail = "The key was used before, for a request that differs from this one."
            return problem(422, "Idempotency-Key is already used", detail)
        case OperationBusy():
            detail = "A request with this key is being worked on. Ask again later, with the same key."
            return problem(409, "A request is outstanding for this Idempotency-Key", detail, retry_after=1)
        case OperationDead():
            detail = "A request with this key failed, and how it ended is not known."
            return problem(409, "The request with this Idempotency-Key did not end well", detail)
        case Unavailable() | Refused():
            detail = (
                "Whether this request was made before cannot be looked up at the moment; nothing was done."
            )
            return problem(503, "Idempotency is not available", detail, retry_after=1)
        case _:
            return None


def problem(status: int, title: str, detail: str, *, retry_after: int | None = None) -> Answer:
    """An answer of problem+json (RFC 9457)."""
    told: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    headers = [("content-type", "application/problem+json")]
    if retry_after is not None:
        headers.append(("retry-after", str(retry_after)))
    return Answer(status, headers, json.dumps(told).encode())
