"""`watch`: invalidations collected from the models that are saved and deleted, so that none can be forgotten.

    watch({User: (users, lambda user: user.pk)})

Promised: whenever `save` or `delete` of a watched model runs (also by a form, the admin, a cascade, or
`QuerySet.delete`), what its rules say is collected as if `on_commit(cache).invalidate(...)` had been called.
A rule is asked for the object as it is, and, before a save, as the database has it: so the entry under an
older name goes too. That costs a query for each save; `older=False` spares it where no key ever changes.

Nobody watches what sends no signals: `QuerySet.update`, `bulk_create`, `bulk_update`, `add` and `remove` of
many-to-many relations, raw SQL, ON DELETE CASCADE of the database. Collect by yourself there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

from django.db.models.signals import post_save, pre_delete, pre_save  # type: ignore[import-untyped]

from holdfast.contrib.django.outbox import Outbox
from holdfast.contrib.django.pending import on_commit
from holdfast.contrib.finding import Finder, finder
from holdfast.contrib.ledger import KEY, TAG

Rules = Mapping[type[Any], Any]


def watch(
    keys: Rules | None = None,
    *,
    tags: Rules | None = None,
    older: bool = True,
    outbox: Outbox | None = None,
) -> Watch:
    """Collect invalidations whenever an object of these models is saved or deleted, until `close`.

    `keys`: for each model `(cache, function)`, or a list of these. The function gets an object and returns a
    key, a list of keys, or None. A cached function may stand in the cache's place; the key is then what it is
    called with, a tuple for several arguments. `tags`: the same, for tags. Call it in `AppConfig.ready`.

    Raises: ConfigurationError for rules that cannot work; a function that raises makes the save fail.
    """
    return Watch(keys or {}, tags or {}, older=older, outbox=outbox)


class Watch:
    """What `watch` returns. A context manager; `close` ends it."""

    def __init__(self, keys: Rules, tags: Rules, *, older: bool, outbox: Outbox | None) -> None:
        self._outbox = outbox
        self._rules: list[tuple[type[Any], Finder]] = []
        for of_kind, given in ((KEY, keys), (TAG, tags)):
            for model, rules in given.items():
                for target, function in rules if isinstance(rules, list) else [rules]:
                    self._rules.append((model, finder(of_kind, target, function)))
        handlers: list[tuple[Any, Callable[..., None]]] = [(post_save, self._now), (pre_delete, self._now)]
        if older:
            handlers += [(pre_save, self._before), (pre_delete, self._before)]
        self._listening = handlers
        for signal, handler in handlers:
            signal.connect(handler, weak=False)

    def close(self) -> None:
        """Stop watching; a second call does nothing."""
        while self._listening:
            signal, handler = self._listening.pop()
            signal.disconnect(handler)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _now(self, *, sender: type[Any], instance: Any, using: str, **_: Any) -> None:
        self._collect(sender, instance, using)

    def _before(self, *, sender: type[Any], instance: Any, using: str, **_: Any) -> None:
        if instance.pk is None or not any(issubclass(sender, model) for model, _ in self._rules):
            return
        older = sender._base_manager.using(using).filter(pk=instance.pk).first()
        if older is not None:
            self._collect(sender, older, using)

    def _collect(self, sender: type[Any], instance: Any, using: str) -> None:
        found = [find(instance) for model, find in self._rules if issubclass(sender, model)]
        for one in dict.fromkeys(one for some in found for one in some):
            on_commit(one.cache, using=using, outbox=self._outbox)._collector.collect([one])
