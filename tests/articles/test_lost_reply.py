"""A counter behind a retrying client: a lost reply counts twice."""

from __future__ import annotations

import pytest
import redis

from holdfast import Holdfast, Unconfirmed


def count_visit(r):
    return r.incr("visits")


def test_one_call_counts_twice(r, faults):
    address = faults.url.rpartition("@")[2].partition("/")[0]
    host, port = address.split(":")
    password = r.connection_pool.connection_kwargs.get("password")
    faults.drop_replies(match=b"visits")

    with redis.Redis(host=host, port=int(port), password=password) as default:
        count_visit(default)  # redis-py's default: up to ten retries, of any command

    assert r.get("visits") == "2"


def test_with_holdfast_you_are_told(faults, namespace):
    with Holdfast(faults.url, namespace=namespace) as hf:
        faults.drop_replies(match=b"INCR")

        with pytest.raises(Unconfirmed):  # it may have happened: you decide
            hf.execute("INCR", hf.key("visits"))

        assert hf.execute("GET", hf.key("visits")) == b"1"
