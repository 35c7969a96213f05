"""`SETNX key value EX 5` is no command; and SETNX followed by EXPIRE leaves a lock that nobody can open."""

from __future__ import annotations

import secrets

import pytest
import redis


def lock_in_one_line(r):
    return r.execute_command("SETNX", "lock:order:7", "1", "EX", 5)


def lock_in_two_lines(r, crash=lambda: None):
    if r.setnx("lock:order:7", "1"):
        crash()  # a deploy, an out-of-memory kill, a lost connection
        r.expire("lock:order:7", 5)
        return True
    return False


def lock(r):
    token = secrets.token_hex(16)
    return token if r.set("lock:order:7", token, nx=True, px=5000) else None


def test_the_server_refuses_the_one_line_form(r):
    with pytest.raises(redis.ResponseError, match="wrong number of arguments"):
        lock_in_one_line(r)


def test_the_two_line_form_is_locked_for_ever_after_a_crash(r):
    def crash():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lock_in_two_lines(r, crash)

    assert r.ttl("lock:order:7") == -1  # no end
    assert not lock_in_two_lines(r)  # for anybody, ever


def test_one_command_takes_the_lock_and_gives_it_an_end(r):
    assert lock(r)
    assert lock(r) is None
    assert 0 < r.pttl("lock:order:7") <= 5000


def test_with_holdfast_a_crash_ends_the_lock(hf, other):
    lease = hf.lock("order:7", ttl="300ms").acquire()
    lease._keeping.close()  # the process dies: nothing renews it any more

    with other.lock("order:7", wait="20s") as theirs:
        assert theirs.fence > lease.fence
