"""What can be chosen about a lock. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, TypeVar

from holdfast._wire.durability import Durability
from holdfast.durations import Duration, optional_seconds, seconds
from holdfast.errors import ConfigurationError

LEAST_TTL = 0.05  # seconds; below it, the way to the server takes a good part of it
Fence = Literal["hybrid", "strict"]
CALLBACKS = ("on_lost", "on_danger", "on_wanted")
AS_CHOSEN: Any = "as chosen"  # the wait that was given when the lock was made


class HoldKeywords(TypedDict, total=False):
    """What every member of the family takes; see HoldOptions."""

    ttl: Duration
    wait: Duration | None
    renew: bool
    max_hold: Duration | None
    label: str
    on_lost: Callable[[Any], object] | None
    on_danger: Callable[[Any], object] | None


class LockKeywords(HoldKeywords, total=False):
    """The arguments of a lock beside its name."""

    fair: bool
    key: str | None
    replicas: int
    durability: Durability | None
    fence: Fence
    on_wanted: Callable[[Any], object] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldOptions:
    """How long something is held and waited for; what all of the family have in common.

    `ttl`: how long a holder that says nothing has it. `wait`: how long an acquire waits at most (None: for
    ever). `renew`: have the ttl renewed while it is held; else it ends after one, and nobody watches it
    meanwhile (what happens to it on the server is found out when it is released). `max_hold`: it is not
    renewed for longer than that (a section that hangs must not hold up the others for ever). `label`: for
    whoever looks who holds it. `on_lost`, `on_danger`, `on_wanted`: called with the lease when it is lost;
    when it could not be renewed and a third of its ttl is left; when somebody asks for it back. They run in
    the holder's event loop, or in the lease thread, and must be quick.

    Raises: ConfigurationError that names the option and its value.
    """

    ttl: Duration = "30s"
    wait: Duration | None = "30s"
    renew: bool = True
    max_hold: Duration | None = None
    label: str = ""
    on_lost: Callable[[Any], object] | None = None
    on_danger: Callable[[Any], object] | None = None
    on_wanted: Callable[[Any], object] | None = None
    ttl_s: float = field(init=False, repr=False, compare=False)  # the same in seconds
    wait_s: float | None = field(init=False, repr=False, compare=False)
    max_hold_s: float | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        longest = optional_seconds(self.max_hold, "max_hold")
        object.__setattr__(self, "ttl_s", seconds(self.ttl, "ttl"))
        object.__setattr__(self, "wait_s", optional_seconds(self.wait, "wait", zero=True))
        object.__setattr__(self, "max_hold_s", longest)
        if self.ttl_s < LEAST_TTL:
            raise ConfigurationError(f"ttl={self.ttl!r} must be at least {LEAST_TTL} s")
        if longest is not None and not self.renew:
            raise ConfigurationError(
                f"max_hold={self.max_hold!r} with renew=False: without renewal the ttl is the longest hold"
            )
        if not isinstance(self.label, str):
            raise ConfigurationError(f"label={self.label!r} must be a str")
        for name in CALLBACKS:
            callback = getattr(self, name)
            if callback is not None and (not callable(callback) or inspect.iscoroutinefunction(callback)):
                raise ConfigurationError(
                    f"{name}={callback!r} must be a plain function of one argument, the lease"
                )
        _check_switch("renew", self.renew)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockOptions(HoldOptions):
    """What can be chosen about a lock, beside what HoldOptions says.

    `fair`: first come, first served, among all that ask for it so. `key`: the lock's key on the server, as
    another program knows it, instead of one made of namespace and name. `replicas`: a grant counts only when
    so many replicas have it; `durability`: the same with more to choose. `fence`: "strict" grants only where
    it is certain that the fence grows; it has to be begun with `begin_fences`.
    """

    fair: bool = False
    key: str | None = None
    replicas: int = 0
    durability: Durability | None = None
    fence: Fence = "hybrid"

    def __post_init__(self) -> None:
        HoldOptions.__post_init__(self)
        _check_switch("fair", self.fair)
        if self.key is not None and not isinstance(self.key, str):
            raise ConfigurationError(f"key={self.key!r} must be a str, as another program writes it")
        if self.durability is not None and not isinstance(self.durability, Durability):
            raise ConfigurationError(
                f"durability={self.durability!r} must be a Durability, as in Durability(replicas=1)"
            )
        if self.fence not in {"hybrid", "strict"}:
            raise ConfigurationError(f'fence={self.fence!r} must be "hybrid" or "strict"')
        if isinstance(self.replicas, bool) or not isinstance(self.replicas, int) or self.replicas < 0:
            raise ConfigurationError(f"replicas={self.replicas!r} must be a whole number, 0 or more")
        if self.replicas and self.durability is not None:
            raise ConfigurationError(
                "replicas= and durability= say the same; leave one out, as in "
                "durability=Durability(replicas=1, within='1s')"
            )

    @property
    def policy(self) -> Durability | None:
        """When a grant counts."""
        return Durability(replicas=self.replicas) if self.replicas else self.durability


def _check_switch(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name}={value!r} must be True or False")


Options = TypeVar("Options")
MANY = 500  # different options that are remembered
_KNOWN: dict[Any, Any] = {}


def chosen(kind: type[Options], what: str, options: Mapping[str, Any]) -> Options:
    """The options of `kind` that `options` are; the same ones are checked once.

    Raises: ConfigurationError, also for one that is unknown.
    """
    if not options.keys().isdisjoint(CALLBACKS):  # they would be kept alive
        return _made(kind, what, options)
    key = (kind, *((name, type(value), value) for name, value in options.items()))
    try:
        known: Options | None = _KNOWN.get(key)
    except TypeError:  # one that cannot be hashed
        return _made(kind, what, options)
    if known is None:
        if len(_KNOWN) >= MANY:
            _KNOWN.clear()
        known = _KNOWN[key] = _made(kind, what, options)
    return known


def _made(kind: type[Options], what: str, options: Mapping[str, Any]) -> Options:
    try:
        return kind(**options)
    except TypeError as error:
        raise ConfigurationError(f"{what}: {str(error).partition('() ')[2] or error}") from None


def check_name(name: object, what: str) -> str:
    """`name`, if it can be one. Raises: ConfigurationError."""
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f'{what}({name!r}): a name must be a non-empty str, as in "order:1024"')
    return name
