"""The rights on the page of topics are enough, and none of them is given in vain."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import holdfast.topics
from holdfast import Holdfast
from tests.topics.world import shown, topic_of

PAGE = Path(__file__).parents[2] / "docs" / "topics.md"
CONNECTING = "+ping +hello +select +client|setname +info +command|info +config|get"


def rights() -> tuple[str, str]:
    """What the page gives to a publisher, and to a subscriber."""
    found = re.findall(r"`(\+evalsha [^`]+)`", PAGE.read_text(encoding="utf-8"))
    publisher, subscriber = found
    return publisher, subscriber


def test_every_command_of_the_scripts_is_on_the_page_and_no_other():
    """Without it a branch that no test takes would be refused to somebody in production."""
    folder = Path(holdfast.topics.__file__).parent
    called = {
        name: set(re.findall(r"redis\.call\('(\w+)'", (folder / f"{name}.lua").read_text(encoding="utf-8")))
        for name in ("publish", "look", "latest")
    }
    publisher, subscriber = ({right.upper() for right in one.split()} for one in rights())
    scripts = {"+EVAL", "+EVALSHA"}
    assert publisher - scripts == {f"+{name}" for name in called["publish"]}
    listening = {"+SSUBSCRIBE", "+SUNSUBSCRIBE"}
    assert subscriber - scripts - listening == {f"+{name}" for name in called["look"] | called["latest"]}


def test_with_those_rights_nothing_is_refused(own_server: Any):
    publisher, subscriber = rights()
    with Holdfast(own_server.url, namespace="shop") as admin:
        for user, own in (("says", publisher), ("hears", subscriber)):
            may = f"on >secret ~shop:1:topic:* &shop:1:topic:* {CONNECTING} {own}"
            admin.execute("ACL", "SETUSER", user, *may.split())
        url = f"redis://{{}}:secret@127.0.0.1:{own_server.port}/0"
        with (
            Holdfast(url.format("says"), namespace="shop") as says,
            Holdfast(url.format("hears"), namespace="shop") as hears,
        ):
            kinds: list[dict[str, Any]] = [{"max_age": "1h"}, {}, {"history": 0}]
            for number, options in enumerate(kinds):
                one, two = (topic_of(hf, f"t{number}", **options) for hf in (says, hears))
                with two.subscribe() as messages:
                    one.publish("a")
                    assert shown([messages.get(20)]) == ["a"]
                    if not one.options.is_plain:
                        assert one.publish("b", id="b").offset == 2
                        assert shown([messages.get(20)]) == ["b"]
                        assert shown(two.history()) == ["a", "b"]
                        admin.execute("DEL", one.channel)
                        assert one.publish("c").offset == 3
        assert admin.execute("ACL", "LOG") == []
