"""`from rediscluster import RedisCluster`: superseded; redis-py brings `redis.cluster` since 4.1."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
import redis.cluster

from holdfast import Holdfast
from holdfast.embedded import Server
from holdfast.testing import available, start

SLOTS = 16384


@pytest.fixture(scope="module")
def node() -> Iterator[Server]:
    """A Cluster of one node, which owns every slot."""
    kind = next(iter(available()))
    with start(kind, config={"cluster-enabled": "yes"}) as node, redis.Redis.from_url(node.url) as client:
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, SLOTS - 1)
        while client.cluster("INFO")["cluster_state"] != "ok":
            pass  # about two seconds; the test's timeout bounds it
        yield node


def test_the_old_package_cannot_be_imported_beside_a_current_redis_py():
    # What rediscluster/connection.py imports first, in its last release (2.1.3, which wants redis<4):
    with pytest.raises(ModuleNotFoundError, match=r"redis\._compat"):
        from redis._compat import nativestr  # type: ignore[import-not-found]  # noqa: F401


def test_redis_py_itself_speaks_to_a_cluster(node):
    with redis.cluster.RedisCluster.from_url(node.url) as client:
        client.set("user:42", "Ann")
        assert client.get("user:42") == b"Ann"


def test_a_client_for_one_server_meets_errors_there(node):
    with redis.Redis.from_url(node.url) as client, pytest.raises(redis.ResponseError, match="slot"):
        client.mget("user:42", "user:43")


def test_holdfast_takes_keys_of_several_slots_apart(node):
    url = node.url.replace("redis://", "redis+cluster://")
    with Holdfast(url, namespace="shop") as hf:
        keys = [hf.key(f"user:{number}") for number in range(5)]
        for key in keys:
            hf.execute("SET", key, "Ann")
        assert hf.execute("MGET", *keys) == [b"Ann"] * 5


def test_the_keys_of_one_entry_share_a_slot_already(node, hf):
    users = hf.cache("users", ttl="5m")
    seen: set[bytes] = set()

    def load():
        seen.update(hf.execute("KEYS", "*{user:42}*"))  # now the lease is there
        return "Ann"

    users.get_or_set("user:42", load)
    seen.update(hf.execute("KEYS", "*{user:42}*"))  # now the entry is

    with redis.Redis.from_url(node.url) as client:
        assert len(seen) == 2
        assert len({client.cluster("KEYSLOT", key.decode()) for key in seen}) == 1
