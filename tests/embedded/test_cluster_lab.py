"""A cluster: whole at hand-over, and every verb does to real servers what it says."""

import re

import pytest
import redis
from redis.crc import key_slot

from holdfast import embedded
from holdfast.embedded.cluster_lab import SLOTS, slot_of
from holdfast.errors import ConfigurationError, Refused, Unavailable
from holdfast.testing.servers import start_lab

from .lab import answers, direct, on_every_kind, until

QUICK = "500ms"


def make(kind, **options):
    return start_lab("cluster", kind, **{"node_timeout": QUICK, **options})


def cluster_client(lab):
    first = lab.nodes[0]
    return redis.RedisCluster(first.host, first.port, password=lab.password, decode_responses=True)


@on_every_kind
def test_it_is_whole_and_says_where_it_is(kind):
    steps: list[str] = []
    with make(kind, progress=steps.append) as lab:
        assert lab.kind == kind
        assert len(lab.nodes) == 6
        assert lab.primaries == lab.nodes[:3]
        assert sorted(lab.replicas, key=lambda one: one.name) == lab.nodes[3:]
        assert [lab.replica_of(one) for one in lab.primaries] == lab.nodes[3:]
        assert lab.healthy
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in lab.nodes)
        assert lab.url == f"redis+cluster://:{lab.password}@{hosts}"
        assert lab.config == f'url: "{lab.url}"\n'
        assert "6 nodes know each other" in steps
        assert lab.primary_of(0) is lab.nodes[0]
        assert lab.primary_of(SLOTS - 1) is lab.nodes[2]
        with cluster_client(lab) as client:
            for i in range(30):
                client.set(f"key:{i}", i)
                assert lab.primary_of(f"key:{i}").ask("GET", f"key:{i}") == str(i)
        with pytest.raises(Unavailable, match="has no replica"):
            lab.replica_of(lab.nodes[3])
    assert not any(node.running for node in lab.nodes)


@pytest.mark.parametrize("key", ["", "foo", "{user}:1", "a{b}c{d}", "{}x", "a{", "{{x}}", "Grüße"])
def test_the_slot_of_a_key_is_the_servers(key):
    assert slot_of(key) == slot_of(key.encode()) == key_slot(key.encode())


@on_every_kind
def test_a_replica_replaces_a_primary_that_was_killed_and_the_lab_becomes_whole_again(kind):
    with make(kind) as lab:
        old, heir = lab.primary_of("a"), lab.replica_of(lab.primary_of("a"))
        with direct(old) as one:
            one.set("a", 1)
            one.execute_command("WAIT", 1, 5000)
        old.kill()
        assert not answers(old)
        assert lab.await_failover(old) is heir
        assert lab.await_failover(old) is heir  # asked too late, it says the same
        assert lab.primary_of("a") is heir
        assert not lab.healthy
        with cluster_client(lab) as client:
            assert client.get("a") == "1"
        old.restart()
        lab.await_ready()
        assert old in lab.replicas
        assert until(lambda: old.info("replication")["master_port"] == str(heir.port))


@on_every_kind
def test_a_replica_replaces_a_frozen_primary(kind):
    with make(kind) as lab:
        old = lab.primaries[1]
        old.freeze()
        assert old.running
        assert not answers(old)
        new = lab.await_failover(old)
        assert new is not old
        old.resume()
        lab.await_ready()
        assert old in lab.replicas


@on_every_kind
def test_a_primary_that_is_cut_off_is_replaced_and_comes_back_as_a_replica(kind):
    with make(kind, cuttable=True) as lab:
        old = lab.primary_of("a")
        with cluster_client(lab) as client:
            client.set("a", 1)
        old.cut_off()
        assert not answers(old)
        new = lab.await_failover(old)
        assert new is not old
        assert old.ask("ROLE")[0] == "master"
        assert lab.primary_of("a") is new
        assert "cut off" in lab.lacks()
        assert until(lambda: old.ask("CLUSTER", "INFO").startswith("cluster_state:fail"))
        old.heal()
        lab.await_ready()
        assert old in lab.replicas
        with cluster_client(lab) as client:
            assert client.get("a") == "1"


@on_every_kind
def test_a_failover_on_request(kind):
    with make(kind) as lab:
        old = lab.primaries[0]
        heir = lab.replica_of(old)
        lab.failover(heir)
        assert lab.await_failover(old) is heir
        lab.await_ready()
        assert old in lab.replicas


@on_every_kind
def test_a_slot_moves_with_its_keys_and_may_be_held_half_way(kind):
    with make(kind, replicas=0) as lab:
        slot = slot_of("{a}")
        source = lab.primary_of(slot)
        target = next(one for one in lab.primaries if one is not source)
        raw = b"{a}\xff\x00"
        for key in (*(f"{{a}}{i}" for i in range(250)), raw):
            source.ask("SET", key, "x")
        lab.begin_move(slot, target)
        assert "a slot under way" in lab.lacks()
        assert not lab.healthy
        assert source.ask("GET", "{a}0") == "x"
        with pytest.raises(Refused, match=f"ASK {slot} 127.0.0.1:{target.port}"):
            source.ask("GET", "{a}new")
        assert lab.move_keys(slot, target, limit=10) == 10
        assert source.ask("CLUSTER", "COUNTKEYSINSLOT", slot) == 241
        with cluster_client(lab) as client:
            assert all(client.get(f"{{a}}{i}") == "x" for i in range(250))
        lab.finish_move(slot, target)
        assert lab.primary_of(slot) is target
        assert target.ask("CLUSTER", "COUNTKEYSINSLOT", slot) == 251
        assert target.ask("GET", raw) == "x"
        with pytest.raises(Refused, match=f"MOVED {slot} 127.0.0.1:{target.port}"):
            source.ask("GET", "{a}0")
        lab.await_ready()
        lab.move_slot(slot, source)
        assert lab.primary_of("{a}") is source
        with pytest.raises(ConfigurationError, match="already"):
            lab.begin_move(slot, source)


@on_every_kind
def test_an_empty_restart_forgets_the_cluster(kind):
    with make(kind, replicas=0, config={"cluster-require-full-coverage": "no"}) as lab:
        node = lab.nodes[0]
        name = node.ask("CLUSTER", "MYID")
        node.restart()
        assert node.ask("CLUSTER", "MYID") == name
        lab.await_ready()
        node.restart(empty=True)
        assert node.ask("CLUSTER", "MYID") != name
        assert len(node.ask("CLUSTER", "NODES").splitlines()) == 1
        assert not lab.healthy


def test_over_tls_with_relays_and_a_password_of_ones_own():
    with embedded.cluster(tls=True, cuttable=True, password="p@s", node_timeout=QUICK) as lab:
        assert re.match(r"rediss\+cluster://:p%40s@\S+\?tls_ca=/\S+&tls_cert=/\S+&tls_key=/", lab.url)
        assert all(answers(node, timeout=2) for node in lab.nodes)
        source, target = lab.primaries[:2]
        key = next(f"k{i}" for i in range(100) if lab.primary_of(f"k{i}") is source)
        source.ask("SET", key, 1)
        lab.move_slot(slot_of(key), target)
        assert target.ask("GET", key) == "1"
        source.cut_off()
        assert lab.await_failover(source) is not source


def test_without_passwords():
    with embedded.cluster(replicas=0, password="") as lab:
        assert lab.url.startswith("redis+cluster://127.0.0.1:")
        source, target = (
            lab.primary_of("a"),
            next(one for one in lab.primaries if one is not lab.primary_of("a")),
        )
        source.ask("SET", "a", 1)
        lab.move_slot(slot_of("a"), target)
        assert target.ask("GET", "a") == "1"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"primaries": 2}, "primaries=2 must be a number from 3"),
        ({"replicas": -1}, "replicas=-1"),
        ({"node_timeout": 0}, "node_timeout=0"),
        ({"config": {"Cluster-Node-Timeout": "1"}}, "decided by the lab"),
    ],
)
def test_what_cannot_work_is_refused(options, says):
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        embedded.cluster(**options)
