"""A guard: what is written only if a lease is still ours, by the word of the server that executes it. Pure.

Mutual exclusion by a lease alone is best effort: whoever is frozen between looking at it and writing writes
late. Where the write goes to the same slot of the same server as the lease, the server can look itself, in
the same step. (etcd calls it a transaction "if is owner"; for other places there is the fence.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast._wire.script import Script
from holdfast._wire.transport import Command
from holdfast.errors import ConfigurationError, LockLost, Refused

GUARDED = Script.load(__package__, "guarded")
LOST = "LEASELOST"
MOST = 7000  # parts of one command that Lua can put on its stack

_SHEBANG = re.compile(r"\A#!lua[^\n]*\n")
_CHECK = """\
do
  local held = redis.call('GET', KEYS[#KEYS])
  if not held or string.sub(held, 1, #ARGV[#ARGV] + 1) ~= ARGV[#ARGV] .. ':' then
    return redis.error_reply('LEASELOST the lease is not ours any more')
  end
  KEYS[#KEYS] = nil
  ARGV[#ARGV] = nil
end
"""


class Guarding(Protocol):
    """What can be a guard: a lease, the term of a leader, one name of a multilock."""

    def guard(self) -> Guard:
        """The guard. Raises: LockLost if it is lost, ConfigurationError if it cannot be one."""


@dataclass(frozen=True, slots=True)
class Guard:
    """The lease at `key`, ours while what stands there begins with `token`."""

    name: str
    key: str
    token: str

    def script(self, script: Script) -> Script:
        """`script`, to be run with our key and token behind its own, and doing nothing if it is lost."""
        found = _SHEBANG.match(script.text)
        first = found[0] if found else ""
        return Script.parse(f"{script.name} (guarded)", first + _CHECK + script.text[len(first) :])

    def transaction(self, commands: Sequence[Command]) -> Command:
        """One command that executes `commands` if it is ours. Raises: ConfigurationError."""
        longest: Command = max(commands, key=len, default=("",))
        if len(longest) > MOST:
            raise ConfigurationError(
                f"{longest[0]!r} has {len(longest)} parts, but under a guard a command may have {MOST}: "
                f"take it apart"
            )
        flat = [part for command in commands for part in (len(command), *command)]
        return ("EVAL", GUARDED.text, 1, self.key, self.token, *flat)

    def lost(self) -> LockLost:
        """What says that nothing was executed."""
        return LockLost(
            f"lock {self.name!r} was lost: the server refused what was guarded by it; nothing was executed",
            name=self.name,
            cause="taken",
        )

    def refused(self, error: Refused) -> Exception:
        """What `error` means."""
        return self.lost() if error.code == LOST else error

    def is_lost(self, reply: Any) -> bool:
        """Does this error reply say that it is not ours?"""
        return str(reply).startswith(LOST)
