"""What is limited, by what, and how it is told: rules and the policy of a middleware. Pure."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, TypedDict, get_args

from holdfast.contrib.limits.address import Clients
from holdfast.contrib.limits.asked import Asked, Cost, Key, Settle, by_address, subject
from holdfast.durations import Duration, seconds
from holdfast.errors import ConfigurationError

Shown = Literal["draft", "legacy", "both"]
Reset = Literal["seconds", "epoch"]

Denied = Callable[[Asked, Any], Any]

_UNIT = re.compile(r"[a-z][a-z0-9-]{0,63}")


class Patterns:
    """Routes by name: a template as it stands, or with `*` for anything: "/items/{id}", "/admin/*"."""

    __slots__ = ("_all", "given")

    def __init__(self, given: Iterable[str], where: str) -> None:
        """Raises: ConfigurationError."""
        if isinstance(given, str):
            raise ConfigurationError(f'{where}={given!r} must be a list, as in ["/items/*"]')
        self.given = tuple(given)
        if not all(isinstance(one, str) for one in self.given):
            raise ConfigurationError(f'{where}={self.given!r} must be texts, as in ["/items/*"]')
        told = "|".join(re.escape(one).replace(r"\*", ".*") for one in self.given)
        self._all = re.compile(told, re.DOTALL) if self.given else None

    def match(self, asked: Asked) -> bool:
        """Is it one of these? By the template of its route; by its path if it has none."""
        return self._all is not None and self._all.fullmatch(asked.route or asked.path) is not None


def _methods(given: Iterable[str], where: str) -> tuple[str, ...]:
    if isinstance(given, str) or not all(isinstance(one, str) for one in given):
        raise ConfigurationError(f'{where}={given!r} must be names, as in ("POST", "PATCH")')
    return tuple(one.upper() for one in given)


@dataclass(frozen=True, slots=True, eq=False)
class LimitRule:
    """One limiter, and which requests it counts by what: `LimitRule(hf.limiter(...), key=by_user)`.

    limiter  of `hf.limiter`: an AsyncLimiter where the middleware is asynchronous, a Limiter where it is not.
             Or of `hf.concurrency_limiter`: a slot is held from before the view until after the answer.
    key      by what: a function of the request; None from it: not counted. See asked.py.
    cost     of a request, or a function of it; below 1: not counted.
    scope    "all": one count for all routes; "route": one for each, by the template of the route.
    routes   only these; "*" stands for anything. methods: only these.
    plan     which of the limiter's plans, or a function of the request.
    unit     of the cost, as headers call it: "content-bytes", for example.
    settle   what it did cost, if that is known after the answer only: a function of request and answer. The
             difference is given back or charged then. None from it: the cost was right.

    Raises: ConfigurationError that names the option and its value.
    """

    limiter: Any
    _: KW_ONLY
    key: Key = by_address
    cost: int | Cost = 1
    scope: Literal["all", "route"] = "all"
    routes: Sequence[str] | None = None
    methods: Sequence[str] | None = None
    plan: str | Callable[[Asked], str | None] | None = None
    unit: str = "requests"
    settle: Settle | None = None
    patterns: Patterns | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        if not hasattr(self.limiter, "check") and not hasattr(self.limiter, "try_acquire"):
            raise ConfigurationError(f"limiter={self.limiter!r} must be one of hf.limiter(...)")
        if not callable(self.key):
            raise ConfigurationError(f"key={self.key!r} must be a function, as by_address or by_user")
        if not callable(self.cost) and (
            isinstance(self.cost, bool) or not isinstance(self.cost, int) or self.cost < 1
        ):
            raise ConfigurationError(f"cost={self.cost!r} must be a whole number, at least 1, or a function")
        if self.scope not in ("all", "route"):
            raise ConfigurationError(f'scope={self.scope!r} must be "all" or "route"')
        if self.settle is not None and not callable(self.settle):
            raise ConfigurationError(f"settle={self.settle!r} must be a function of request and answer")
        if self.settle is not None and self.is_concurrency:
            raise ConfigurationError(f"settle={self.settle!r}: slots of a concurrency limiter cost nothing")
        if not isinstance(self.unit, str) or _UNIT.fullmatch(self.unit) is None:
            raise ConfigurationError(f'unit={self.unit!r} must be a word, as "content-bytes"')
        put(self, "patterns", None if self.routes is None else Patterns(self.routes, "routes"))
        if self.methods is not None:
            put(self, "methods", _methods(self.methods, "methods"))

    @property
    def is_concurrency(self) -> bool:
        """Is it a limit of what runs at the same time?"""
        return not hasattr(self.limiter, "check")

    def counts(self, asked: Asked) -> bool:
        """Is the request one that this rule is about?"""
        if self.methods is not None and asked.method not in self.methods:
            return False
        return self.patterns is None or self.patterns.match(asked)

    def subject_of(self, asked: Asked) -> str | None:
        """By what the limiter counts it; None: it does not.

        Raises: ConfigurationError if the key function returned anything but a text.
        """
        text = self.key(asked)
        if text is None:
            return None
        if not isinstance(text, str):
            raise ConfigurationError(f"key={self.key!r} returned {text!r}, which is no text")
        return subject(text, asked.route if self.scope == "route" else None)

    def cost_of(self, asked: Asked) -> int:
        """What it costs. Raises: ConfigurationError if the function returned no whole number."""
        cost = self.cost(asked) if callable(self.cost) else self.cost
        if isinstance(cost, bool) or not isinstance(cost, int):
            raise ConfigurationError(f"cost={self.cost!r} returned {cost!r}, which is no whole number")
        return cost

    def plan_of(self, asked: Asked) -> str | None:
        """The plan of whoever asks; None: the limiter's own limits."""
        return self.plan(asked) if callable(self.plan) else self.plan


class RuleKeywords(TypedDict, total=False):
    """The arguments of `limited` beside its limiter; see LimitRule."""

    key: Key
    cost: int | Cost
    scope: Literal["all", "route"]
    methods: Sequence[str] | None
    plan: str | Callable[[Asked], str | None] | None
    unit: str
    settle: Settle | None


def route_rule(limiter: Any, told: RuleKeywords, *, asynchronous: bool) -> tuple[LimitRule, ...]:
    """The rule of `limited`: unless told otherwise, each route is counted by itself. Raises:
    ConfigurationError.
    """
    wanted: RuleKeywords = {"scope": "route", **told}
    return rules_of(LimitRule(limiter, **wanted), asynchronous=asynchronous)


class LimitPolicyKeywords(TypedDict, total=False):
    """The arguments of a middleware beside its rules; see LimitPolicy."""

    headers: Shown | None
    reset: Reset
    jitter: Duration
    show_degraded: bool
    partition_secret: bytes | str | None
    exempt: Sequence[str] | Callable[[Asked], bool]
    exempt_methods: Sequence[str]
    denied: Denied | None
    trusted: Sequence[str]
    proxy_header: str
    ipv4_prefix: int
    ipv6_prefix: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LimitPolicy:
    """How a middleware tells of limits, whom it leaves alone, and where clients come from.

    headers           "draft": RateLimit-Policy and RateLimit; "legacy": X-RateLimit-Limit, -Remaining and
                      -Reset; "both"; None: none. Retry-After is part of every refusal that passes.
    reset             of the legacy headers: "seconds" from now, or "epoch": seconds since 1970.
    jitter            Retry-After is up to this much later, by chance, so that not all return at once.
    show_degraded     X-RateLimit-Degraded: 1 where the limiter's `on_error` has decided.
    partition_secret  headers tell apart whom limits count, by a keyed hash (`pk`); the same secret in every
                      process, at least 16 bytes. None: they do not.
    exempt            routes that are not limited, with "*" for anything; or a function of the request.
    exempt_methods    ("OPTIONS",) for a browser's preflight requests, for example.
    denied            the answer to a refused request: a function of the request and the Refusal; it returns
                      an Answer, or what the framework calls a response, or None for problem+json.
    trusted           the proxies in front, as networks: see address.py. proxy_header: what they write.
    ipv4_prefix, ipv6_prefix    bits of an address that count.

    Raises: ConfigurationError that names the option and its value.
    """

    headers: Shown | None = "draft"
    reset: Reset = "seconds"
    jitter: Duration = 0
    show_degraded: bool = False
    partition_secret: bytes | str | None = field(default=None, repr=False)
    exempt: Sequence[str] | Callable[[Asked], bool] = ()
    exempt_methods: Sequence[str] = ()
    denied: Denied | None = None
    trusted: Sequence[str] = ()
    proxy_header: str = "X-Forwarded-For"
    ipv4_prefix: int = 32
    ipv6_prefix: int = 64
    clients: Clients = field(init=False, repr=False)
    spread: float = field(init=False, repr=False)
    secret: bytes | None = field(init=False, repr=False)
    patterns: Patterns | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        if self.headers is not None and self.headers not in get_args(Shown):
            raise ConfigurationError(f'headers={self.headers!r} must be "draft", "legacy", "both" or None')
        if self.reset not in get_args(Reset):
            raise ConfigurationError(f'reset={self.reset!r} must be "seconds" or "epoch"')
        put(self, "spread", seconds(self.jitter, "jitter", zero=True))
        if isinstance(self.trusted, str):
            raise ConfigurationError(f'trusted={self.trusted!r} must be a list, as in ["10.0.0.0/8"]')
        put(self, "clients", self._clients())
        secret = self.partition_secret
        secret = secret.encode() if isinstance(secret, str) else secret
        if secret is not None and (not isinstance(secret, bytes) or len(secret) < 16):
            raise ConfigurationError("partition_secret must have at least 16 bytes")  # and is not shown
        put(self, "secret", secret)
        patterns = None if callable(self.exempt) else Patterns(self.exempt, "exempt")
        put(self, "patterns", patterns if patterns and patterns.given else None)
        put(self, "exempt_methods", _methods(self.exempt_methods, "exempt_methods"))
        if self.denied is not None and not callable(self.denied):
            raise ConfigurationError(f"denied={self.denied!r} must be a function of request and refusal")

    def _clients(self) -> Clients:
        return Clients(
            trusted=tuple(self.trusted),
            header=self.proxy_header,
            ipv4_prefix=self.ipv4_prefix,
            ipv6_prefix=self.ipv6_prefix,
        )

    def exempts(self, asked: Asked) -> bool:
        """Is the request left alone by the rules of the middleware?"""
        if asked.method in self.exempt_methods:
            return True
        if callable(self.exempt):
            return bool(self.exempt(asked))
        return self.patterns is not None and self.patterns.match(asked)


def is_asynchronous(rule: LimitRule) -> bool:
    """Is its limiter one of AsyncHoldfast?"""
    return inspect.iscoroutinefunction(rule.limiter.acquire if rule.is_concurrency else rule.limiter.check)


def rules_of(given: Any, *, asynchronous: bool | None) -> tuple[LimitRule, ...]:
    """`given` as rules: one, several, or limiters as they are.

    Raises: ConfigurationError if it is anything else, or a limiter is not of this flavour; None: they must be
    of one.
    """
    several = given if isinstance(given, list | tuple) else [given]
    rules = tuple(one if isinstance(one, LimitRule) else LimitRule(one) for one in several)
    if asynchronous is None:
        asynchronous = bool(rules) and is_asynchronous(rules[0])
    for rule in rules:
        if is_asynchronous(rule) is not asynchronous:
            other = "AsyncHoldfast" if asynchronous else "Holdfast"
            raise ConfigurationError(f"limiter={rule.limiter!r} must be one of {other} here")
    return rules
