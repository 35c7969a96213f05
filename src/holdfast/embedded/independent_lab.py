"""Primaries that know nothing of each other: what Redlock asks for its majority."""

from __future__ import annotations

import os
from collections.abc import Mapping

from holdfast.durations import Duration
from holdfast.embedded import lab as labs
from holdfast.embedded.lab import Lab, Part, Progress, Wish, begin, wish


def independent(
    count: int = 5,
    *,
    password: str | None = None,
    tls: bool = False,
    cuttable: bool = False,
    binary: str | os.PathLike[str] | None = None,
    config: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    timeout: Duration = "30s",
) -> IndependentLab:
    """Start `count` servers that know nothing of each other, and return when all of them answer.

    `password`: of all of them; None for a random one, "" for none. `tls`: talk TLS only, with certificates
    made for the lab. `cuttable`: put relays in front of them, so that they can be cut off. `binary`: the
    program, see `find`. `config`: more settings. `progress`: told of each step. `timeout`: seconds until all
    answer.

    Raises: ConfigurationError for what cannot work; Unavailable if they do not answer within `timeout`.
    """
    shared = wish(
        password=password,
        tls=tls,
        cuttable=cuttable,
        binary=binary,
        config=config,
        progress=progress,
        timeout=timeout,
    )
    number = labs.count(count, "count", 1)
    return begin(lambda: IndependentLab(shared, number), shared.patience)


class IndependentLab(Lab):
    """Servers that know nothing of each other. Made by `independent`."""

    def __init__(self, wish: Wish, count: int) -> None:
        super().__init__(wish)
        self._count = count

    @property
    def urls(self) -> list[str]:
        """What to give one client each."""
        return [node.url for node in self.nodes]

    @property
    def url(self) -> str:
        """The first one's; see `urls`."""
        return self.urls[0]

    @property
    def config(self) -> str:
        """Their URLs as a YAML list; one `holdfast.yaml` names one of them."""
        return "urls:\n" + "".join(f'  - "{url}"\n' for url in self.urls)

    def amiss(self) -> str:
        """What is wrong with the nodes or with what they know of each other; "" if nothing is."""
        for node in self.nodes:
            node.ask("PING")
        return ""

    def form(self, give_up: float) -> None:
        """Start all of them at once."""
        self.wish.progress(f"starting {self._count} servers")
        seats = self.seats(f"node-{i + 1}" for i in range(self._count))
        self.boot(
            [Part(seat=one, password=self.wish.password, config=self.wish.config) for one in seats], give_up
        )
