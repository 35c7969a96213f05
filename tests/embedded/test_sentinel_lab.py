"""A lab with sentinels: whole at hand-over, and every verb does to real servers what it says."""

import contextlib
import re
import socket
from pathlib import Path

import pytest
import redis
from redis.sentinel import Sentinel

from holdfast import embedded
from holdfast.embedded import admin
from holdfast.embedded import sentinel_lab as module
from holdfast.errors import ConfigurationError, Refused, Unavailable
from holdfast.testing.servers import available, start_lab

from .lab import answers, direct, on_every_kind, until

QUICK = "1200ms"  # less, and one failover may bring about the next: see SentinelLab


def make(kind, **options):
    return start_lab("sentinel", kind, **{"down_after": QUICK, **options})


@on_every_kind
def test_it_is_whole_and_says_where_it_is(kind):
    steps: list[str] = []
    with make(kind, progress=steps.append) as lab:
        assert lab.kind == kind
        assert len(lab.nodes) == 3
        assert len(lab.sentinels) == 3
        assert lab.primary is lab.nodes[0]
        assert lab.replicas == lab.nodes[1:]
        assert not lab.lacks()
        assert lab.healthy
        lab.await_ready("1s")
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in lab.sentinels)
        wanted_url = f"redis+sentinel://:{lab.password}@{hosts}/{lab.name}/0"
        assert lab.url == f"{wanted_url}?sentinel_password={lab.sentinel_password}"
        assert lab.config == f'url: "{lab.url}"\n'
        assert lab.password != lab.sentinel_password
        assert lab.password not in " ".join(steps)
        assert steps[0] == "starting a primary, 2 replicas and 3 sentinels"
        assert sum(" answers at " in step for step in steps) == 6

        with direct(lab.primary) as one:
            one.set("a", 1)
            assert one.execute_command("WAIT", 2, 5000) == 2
        with direct(lab.replicas[0]) as one:
            assert one.get("a") == "1"
            with pytest.raises(redis.exceptions.ReadOnlyError):
                one.set("a", 2)
        places = [(one.host, one.port) for one in lab.sentinels]
        finder = Sentinel(places, sentinel_kwargs={"password": lab.sentinel_password})
        assert finder.discover_master(lab.name) == ("127.0.0.1", lab.primary.port)
        assert len(finder.discover_slaves(lab.name)) == 2
    assert not any(node.running for node in [*lab.nodes, *lab.sentinels])


@on_every_kind
def test_sentinels_replace_a_primary_that_was_killed_and_a_restart_makes_it_a_replica(kind):
    with make(kind) as lab:
        old = lab.primary
        with direct(old) as one:
            one.set("a", 1)
            one.execute_command("WAIT", 2, 5000)
        old.kill()
        assert not old.running
        assert not answers(old)
        new = lab.await_failover(old)
        assert new is not old
        assert lab.primary is new
        assert not lab.healthy
        assert old in lab.replicas
        with direct(new) as one:
            assert one.get("a") == "1"
        old.restart()
        assert until(lambda: old.ask("ROLE")[0] == "slave", within=40)
        assert until(lambda: old.ask("GET", "a") == "1", within=20)


@on_every_kind
def test_sentinels_replace_a_frozen_primary(kind):
    with make(kind) as lab:
        old = lab.primary
        old.freeze()
        assert old.running
        assert not answers(old)
        assert lab.await_failover(old) is not old
        old.resume()
        assert until(lambda: answers(old))


@on_every_kind
def test_a_primary_that_is_cut_off_is_replaced_and_does_not_know_it(kind):
    with make(kind, cuttable=True) as lab:
        old = lab.primary
        standing = direct(old, timeout=0.3)
        standing.set("a", 1)
        old.cut_off()
        assert old.is_cut_off
        for client in (standing, direct(old, timeout=0.3)):
            with pytest.raises(redis.TimeoutError):
                client.ping()
            client.close()
        new = lab.await_failover(old)
        assert old.ask("ROLE")[0] == "master"
        with direct(new) as one:
            one.set("a", 2)
        old.ask("SET", "a", "lost")
        assert "cut off" in lab.lacks()
        old.heal()
        assert not old.is_cut_off
        assert until(lambda: answers(old))
        assert until(lambda: lab.sentinels[0].ask("SENTINEL", "CKQUORUM", lab.name).startswith("OK 3"))


@on_every_kind
def test_a_replica_or_a_sentinel_that_is_cut_off_is_missed_and_welcomed_back(kind):
    with make(kind, cuttable=True) as lab:
        primary = lab.primary
        for node in (lab.replicas[0], lab.sentinels[0]):
            node.cut_off()
            assert until(lambda: any("s_down" in str(seen) for seen in _seen(lab, node)))
            assert not answers(node)
            node.heal()
            assert until(lambda: answers(node))
            assert until(lambda: not any("s_down" in str(seen) for seen in _seen(lab, node)))
        assert lab.primary is primary


def _seen(lab, node):
    """What the sentinels say of `node`, which is no sentinel's business to say of itself."""
    what = "SENTINELS" if node in lab.sentinels else "REPLICAS"
    for one in lab.sentinels:
        if one is not node:
            yield [seen for seen in one.ask("SENTINEL", what, lab.name) if str(node.port) in seen]


@on_every_kind
def test_a_failover_on_request(kind):
    with make(kind) as lab:
        old = lab.primary
        lab.failover()
        new = lab.await_failover(old)
        assert new is not old
        assert old.running
        with pytest.raises(Refused):  # one is under way, or the last one was just now
            for _ in range(3):
                lab.failover()


@on_every_kind
def test_restarts_keep_each_nodes_part_and_empty_ones_nothing_else(kind):
    with make(kind, down_after="10s", config={"appendonly": "yes"}) as lab:
        primary, replica, watcher = lab.primary, lab.replicas[0], lab.sentinels[0]
        primary.ask("SET", "a", 1)
        replica.kill()
        replica.restart()
        assert until(lambda: replica.info("replication")["master_link_status"] == "up")
        assert replica.ask("GET", "a") == "1"
        primary.restart()
        assert primary.ask("GET", "a") == "1"
        primary.restart(empty=True)
        assert primary.ask("ROLE")[0] == "master"
        assert primary.ask("GET", "a") is None
        watcher.ask("SENTINEL", "SET", lab.name, "failover-timeout", 12345)
        for empty, timeout in ((False, "12345"), (True, "10000")):
            before = watcher.pid
            watcher.restart(empty=empty)
            assert watcher.pid != before
            about = admin.pairs(watcher.ask("SENTINEL", "MASTER", lab.name))
            assert (about["port"], about["failover-timeout"]) == (str(primary.port), timeout)
        assert lab.primary is primary


def test_passwords_are_the_ones_given_or_none():
    with embedded.sentinel(replicas=0, sentinels=1, password="", sentinel_password="") as lab:
        assert lab.url == f"redis+sentinel://127.0.0.1:{lab.sentinels[0].port}/{lab.name}/0"
        assert lab.primary.url == f"redis://127.0.0.1:{lab.primary.port}"
        assert answers(lab.primary)
        assert answers(lab.sentinels[0])
        assert lab.replicas == []
    with embedded.sentinel(replicas=1, sentinels=1, password="p@s/s", sentinel_password="x&y") as lab:
        assert lab.url.startswith("redis+sentinel://:p%40s%2Fs@127.0.0.1:")
        assert lab.url.endswith("?sentinel_password=x%26y")
        assert answers(lab.primary)
        for node in (lab.primary, lab.sentinels[0]):
            with socket.create_connection((node.host, node.port), 5) as stranger:
                stranger.sendall(b"PING\r\n")
                assert stranger.recv(100).startswith(b"-NOAUTH")


def test_over_tls_with_relays():
    with embedded.sentinel(tls=True, cuttable=True, down_after=QUICK) as lab:
        assert re.match(
            r"rediss\+sentinel://:\S+/lab-\w+/0\?sentinel_password=\S+&tls_ca=/\S+&tls_cert=/\S+&tls_key=/",
            lab.url,
        )
        for node in [*lab.nodes, *lab.sentinels]:
            assert answers(node, timeout=2)
            with socket.create_connection((node.host, node.port), 5) as plain:
                plain.sendall(b"PING\r\n")
                with contextlib.suppress(ConnectionResetError):
                    assert b"PONG" not in plain.recv(100)
        old = lab.primary
        old.cut_off()
        assert lab.await_failover(old) is not old
        folder = Path(lab.nodes[0].server.query["tls_ca"]).parent
    assert not folder.exists()


def test_a_home_keeps_data_and_logs(tmp_path):
    home = tmp_path / "lab"
    with embedded.sentinel(replicas=1, sentinels=1, home=home) as lab:
        lab.primary.ask("SET", "a", 1)
    assert (home / "node-1" / "appendonlydir").is_dir()
    assert "Ready to accept connections" in (home / "node-2" / "server.log").read_text()
    with pytest.raises(ConfigurationError, match=r"home=.* is not empty"):
        embedded.sentinel(home=home)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sentinels": 0}, "sentinels=0 must be a number from 1"),
        ({"replicas": -1}, "replicas=-1"),
        ({"replicas": True}, "replicas=True"),
        ({"down_after": 0}, "down_after=0"),
        ({"password": "a b"}, "password: sentinels cannot keep blanks"),
        ({"config": {"replica-announce-port": "1"}}, "decided by the lab"),
        ({"config": {"port": "1"}}, "decided by embedding"),
        ({"config": {"nonsense": "1"}}, "CONFIG FILE ERROR"),
        ({"binary": "/nonexistent/server"}, "there is no such program"),
    ],
)
def test_what_cannot_work_is_refused(options, says):
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        embedded.sentinel(**options)


def test_without_relays_nothing_can_be_cut():
    with embedded.independent(1) as lab:
        for verb in (lab.nodes[0].cut_off, lab.nodes[0].heal):
            with pytest.raises(ConfigurationError, match="cuttable=True"):
                verb()


def test_one_that_does_not_become_whole_says_why_and_leaves_nothing(monkeypatch):
    made = []

    def amiss(self):
        made.append(self)
        return "the moon is wrong"

    monkeypatch.setattr(module.SentinelLab, "amiss", amiss)
    with pytest.raises(Unavailable, match=r"(?s)not whole in time: the moon is wrong\n.*sentinel-1: .+"):
        embedded.sentinel(replicas=0, sentinels=1, timeout="4s")
    assert not any(node.running for node in made[-1]._everyone)


def test_a_program_without_tls_is_named():
    with pytest.raises(ConfigurationError, match=r"tls=True: .* was built without TLS"):
        embedded.independent(1, tls=True, binary=available()["valkey"])
