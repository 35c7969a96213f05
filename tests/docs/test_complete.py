"""What exists is documented, and what is documented exists."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
import shlex
import time
from typing import Any

import pytest

import holdfast
from holdfast import Cache, _signals
from holdfast.cache.options import CacheOptions
from holdfast.cache.stats import CacheStats
from holdfast.errors import HoldfastError
from holdfast.observe import metrics
from holdfast.observe.logs import event_name
from holdfast.testing import FaultProxy, plugin
from tests.docs.blocks import ROOT

DOCS = ROOT / "docs"
OURS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def missing(names, text: str) -> list[str]:
    return [name for name in names if not re.search(rf"\b{re.escape(name)}\b", text)]


def public(kind: type) -> list[str]:
    return [name for name, _ in inspect.getmembers(kind, callable) if not name.startswith("_")]


def test_the_reference_holds_every_public_name():
    assert missing([name for name in holdfast.__all__ if name != "__version__"], page("reference")) == []


def test_the_page_of_the_cache_holds_every_method_option_and_count():
    text = page("cache")
    options = [field.name for field in dataclasses.fields(CacheOptions)]
    counts = [field.name for field in dataclasses.fields(CacheStats)]

    assert missing([*public(Cache), *options, *counts], text) == []


def test_the_page_of_errors_holds_every_error():
    errors = [name for name in holdfast.__all__ if _is_error(getattr(holdfast, name))]

    assert missing(errors, page("errors")) == []


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, HoldfastError)


def test_the_page_of_operations_holds_every_metric_and_every_event():
    for module in pkgutil.walk_packages(holdfast.__path__, "holdfast._wire."):
        importlib.import_module(module.name.replace("holdfast._wire.", "holdfast.", 1))
    events = [event_name(kind) for kind in _every(_signals.Signal)]
    names = [name + ("_total" if about.kind == "counter" else "") for name, about in metrics._METRICS.items()]

    assert missing([*events, *names], page("operations")) == []


def _every(kind: Any) -> list[Any]:
    return [one for below in kind.__subclasses__() for one in (below, *_every(below))]


def test_the_levels_of_events_are_right():
    told = dict(re.findall(r"^\| `(\w+)` \| (debug|info|warning|error) \|", page("operations"), re.MULTILINE))

    assert told == {event_name(kind): kind.level for kind in _every(_signals.Signal)}


def test_the_page_of_testing_holds_every_fixture_and_fault():
    fixtures = [name for name, one in vars(plugin).items() if "fixture" in type(one).__name__.lower()]
    assert "hf" in fixtures
    fixtures.remove("servers")  # what `server` is made of
    fixtures.remove("labs")  # and the shared labs

    assert missing([*fixtures, *public(FaultProxy)], page("testing") + "close reset_counts") == []


def test_every_article_has_its_section_and_every_example_its_place():
    text = "".join(file.read_text(encoding="utf-8") for file in OURS)
    articles = [file.name for file in (ROOT / "tests" / "articles").glob("test_*.py")]
    examples = [file.name for file in (ROOT / "examples").glob("*.py") if file.stem != "quickstart"]

    assert [name for name in articles if f"../tests/articles/{name}" not in page("articles")] == []
    assert [name for name in examples if f"../examples/{name}" not in text] == []


def rights(user: str) -> list[list[str]]:
    """The commands on the page that give rights to `user`."""
    found = re.findall(
        rf"redis-cli (?:-p \d+ )?(ACL SETUSER {user} .*?)^```", page("operations"), re.MULTILINE | re.DOTALL
    )
    return [shlex.split(one.replace("\\\n", "")) for one in found]


def as_user(url: str, who: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{who}@{rest.rpartition('@')[2]}"


def use(hf: holdfast.Holdfast, where: str = "") -> None:
    """What a service does that only caches."""
    users = hf.cache(f"users{where}", ttl="1m")
    for key in range(20):
        assert users.get_or_set(key, lambda: "Ann") == users.get(key) == "Ann"
    assert users.set(42, "Bea")
    assert users.peek(42)
    assert users.expire(42)
    assert users.invalidate(42)
    assert users.set_many({101: "Ann", 102: "Bea"}, tags=["org:1"])
    assert users.get_many([101, 102, 103]) == {101: "Ann", 102: "Bea"}
    assert users.invalidate_tags("org:1")
    assert users.get_or_set_many([101, 102], lambda keys: dict.fromkeys(keys, "Cem"), tags=["org:1"])
    assert users.set(42, "Bea", version=2) and users.invalidate(42, version=3, hold="1s")
    users.clear()
    users.switch_off()
    assert users.get_or_set(1, lambda: "Ann") == "Ann"
    users.switch_on()
    reports = hf.cache(f"reports{where}", ttl="1m", stale="1m")
    assert reports.get_or_set(1, lambda: "Ann") == reports.get(1) == "Ann"


def denied(node) -> list[str]:
    """What the ACL of `node` has refused."""
    lines = [[one.decode() if isinstance(one, bytes) else str(one) for one in entry] for entry in told(node)]
    return [" ".join(line) for line in lines]


def told(node):
    log = node.ask("ACL", "LOG")
    return [list(entry.items() if isinstance(entry, dict) else entry) for entry in log]


def test_the_rights_on_the_page_are_enough_for_a_cache(own_server):
    cache, _ = rights("shop")
    with holdfast.Holdfast(own_server.url) as admin:
        admin.execute(*cache)
        url = f"redis://shop:secret@127.0.0.1:{own_server.port}/1"
        with holdfast.Holdfast(url, namespace="shop") as hf:
            use(hf)
        assert admin.execute("ACL", "LOG") == []


@pytest.mark.parametrize("via", ["tracking", "pubsub"])
def test_the_rights_on_the_page_are_enough_for_a_near_cache(own_server, via):
    cache, *_ = rights("shop")
    more = {"tracking": ["+client|tracking"], "pubsub": ["+subscribe", "+publish"]}[via]
    assert all(right in page("operations") for right in more)
    with holdfast.Holdfast(own_server.url) as admin:
        admin.execute(*cache)
        url = f"redis://shop:secret@127.0.0.1:{own_server.port}/1"
        with holdfast.Holdfast(url, namespace="shop") as hf:
            users = hf.cache("refused", ttl="1m", l1=holdfast.L1(via=via))
            if via == "tracking":
                assert users.set(1, "Ann")
                assert _l1_hits(users) == 0
            else:
                with pytest.raises(holdfast.NoPermission, match="publish"):  # nobody could be told
                    users.set(1, "Ann")
        admin.execute("ACL", "SETUSER", "shop", *more)
        admin.execute("ACL", "LOG", "RESET")
        with holdfast.Holdfast(url, namespace="shop") as hf:
            users = hf.cache("users", ttl="1m", l1=holdfast.L1(via=via))
            assert users.set(1, "Ann")
            assert _l1_hits(users) > 0
        assert admin.execute("ACL", "LOG") == []


def _l1_hits(cache) -> int:
    give_up = time.monotonic() + 0.5
    while time.monotonic() < give_up and not cache.stats().l1_hits:
        cache.get(1)
        time.sleep(0.01)
    return cache.stats().l1_hits


def test_the_rights_on_the_page_are_enough_for_sentinel(own_sentinel_lab):
    lab = own_sentinel_lab
    (watcher,), (cache, _) = rights("watcher"), rights("shop")
    for node in lab.sentinels:
        node.ask(*watcher)
    for node in lab.nodes:
        node.ask(*cache)
    url = as_user(lab.url, "shop:secret").partition("?")[0]
    url += "?sentinel_username=watcher&sentinel_password=other"
    with holdfast.Holdfast(url, namespace="shop", timeout="20s") as hf:
        use(hf)
        old = lab.primary
        old.kill()
        hf.execute("SET", hf.key("a"), 1, retry="safe")
        use(hf, "again")
    alive = [node for node in [*lab.sentinels, *lab.nodes] if node.running]
    assert [line for node in alive for line in denied(node)] == []


def test_the_rights_on_the_page_are_enough_for_a_cluster(own_cluster_lab):
    lab = own_cluster_lab
    cache, more = rights("shop")
    for node in lab.nodes:
        node.ask(*cache)
        node.ask(*more)
    url = as_user(lab.url, "shop:secret")
    with holdfast.Holdfast(url, namespace="shop", timeout="20s") as hf:
        use(hf)
        hf.execute("SET", hf.key("a"), 1, durability=holdfast.Durability(replicas=1))
        hf.execute("GET", hf.key("a"), max_staleness="1s")
        lab.primary_of(hf.key("a")).kill()
        hf.execute("SET", hf.key("a"), 1, retry="safe")
    alive = [node for node in lab.nodes if node.running]
    assert [line for node in alive for line in denied(node)] == []


@pytest.mark.parametrize("file", OURS, ids=lambda file: file.stem)
def test_no_page_names_this_machine_and_every_relative_link_leads_somewhere(file):
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"/(?:work|tmp|root|home)/", text)

    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert [link for link in links if not (file.parent / link).exists()] == []
