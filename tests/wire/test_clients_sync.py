# Generated from test_clients_async.py by tools/unasync.py. Do not edit.
"""A redis-py client of the user's own, for Sentinel and Cluster: found, followed, and never its retries."""

from urllib.parse import parse_qs, urlsplit

import pytest
import redis
import redis.sentinel

from holdfast import Holdfast, ConfigurationError
from holdfast._wire.url import parse


def sentinel_of(lab, **more):
    """The redis-py client of a Sentinel lab, as its documentation shows it."""
    target = parse(lab.url)
    return redis.sentinel.Sentinel(
        list(target.nodes),
        sentinel_kwargs={"password": target.sentinel_password},
        password=target.password,
        **more,
    )


@pytest.mark.parametrize("transport", [None, "native"])
def test_a_client_of_sentinel(sentinel_lab, namespace, transport):
    """Its sentinels, its primary's name and both passwords are taken over."""
    theirs = sentinel_of(sentinel_lab).master_for(sentinel_lab.name)
    with Holdfast(client=theirs, namespace=namespace, transport=transport) as hf:
        hf.execute("SET", hf.key("a"), 1)
        assert hf.execute("GET", hf.key("a")) == b"1"
        assert (hf.facts()).role == "master"
    theirs.close()


def test_a_client_of_replicas_is_refused(sentinel_lab):
    """Writing to it could not work."""
    theirs = sentinel_of(sentinel_lab).slave_for(sentinel_lab.name)
    with pytest.raises(ConfigurationError, match="max_staleness"):
        Holdfast(client=theirs)
    theirs.close()


@pytest.mark.parametrize("transport", [None, "native"])
def test_a_client_of_a_cluster(cluster_lab, namespace, transport):
    """Its nodes and its password are taken over; keys of all slots are reached."""
    target = parse(cluster_lab.url)
    host, port = target.nodes[0]
    theirs = redis.RedisCluster(host=host, port=port, password=target.password)
    with Holdfast(client=theirs, namespace=namespace, transport=transport) as hf:
        for number in range(20):
            hf.execute("SET", hf.key(f"k{number}"), number)
        keys = [hf.key(f"k{number}") for number in range(20)]
        assert hf.execute("MGET", *keys) == [b"%d" % number for number in range(20)]
    theirs.close()


def test_the_url_of_a_lab_is_one_of_ours(sentinel_lab):
    """What a lab prints can be pasted."""
    parts = urlsplit(sentinel_lab.url)
    assert parts.scheme == "redis+sentinel"
    assert parse_qs(parts.query)["sentinel_password"]
