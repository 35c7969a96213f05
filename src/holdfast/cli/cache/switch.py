"""`holdfast cache off NAME` and `on NAME`."""

from __future__ import annotations

import argparse

from holdfast.cli.cache.paper import Paper
from holdfast.cli.cache.place import Place, client
from holdfast.cli.cache.words import safe
from holdfast.cli.up.screen import Part


def run(asked: argparse.Namespace) -> int:
    """Switch, and say what that means. Raises: Unavailable, Refused."""
    paper = Paper(json=asked.json)
    on = asked.action == "on"
    with client(asked) as hf:
        place = Place(hf, asked.name)
        was_off, is_known = place.is_off, place.is_known
        if not on:
            place.cache.switch_off()  # also if it is: the last one may have been interrupted
        elif was_off:
            place.cache.switch_on()
    paper.data({"cache": asked.name, "on": on, "was_on": not was_off, "known": is_known})
    name, on_part, off_part = safe(asked.name), Part("on", "green"), Part("off", "bold red")
    if on and not was_off:
        paper.say(Part(name, "bold"), " is ", on_part, " already; nothing was changed.")
    elif on:
        paper.say(Part(name, "bold"), " is ", on_part, " again.")
        paper.say("It is empty: nothing that was stored before is read. Expect loads.")
    else:
        paper.say(Part(name, "bold"), " is already " if was_off else " is ", off_part, ".")
        paper.say("All processes go without it from their next read on, copies in them within a second. They")
        paper.say(f"load from the source, at most max_loads at once each, until: holdfast cache on {name}")
    if not (on or is_known):
        paper.say(Part("Nothing of a cache of this name was seen; see: holdfast cache list", "yellow"))
    return 0
