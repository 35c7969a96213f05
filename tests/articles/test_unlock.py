"""`DEL lock` at the end of the work deletes whatever lock is there, also somebody else's."""

from __future__ import annotations

import pytest

from holdfast import LockLost

UNLOCK = """
-- retry: safe
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


def unlock_anybodys(r):
    r.delete("lock:order:7")


def unlock(r, token):
    return r.eval(UNLOCK, 1, "lock:order:7", token)


def lock(r, token):
    return r.set("lock:order:7", token, nx=True, px=5000)


def let_it_expire(r):
    """The work took longer than the lock lives."""
    r.pexpire("lock:order:7", 0)


def test_two_workers_hold_the_lock(r):
    assert lock(r, "ann")
    let_it_expire(r)
    assert lock(r, "bob")  # rightly: ann's time is over

    unlock_anybodys(r)  # ann is done

    assert lock(r, "cid")  # while bob still works


def test_only_the_owner_unlocks(r):
    assert lock(r, "ann")
    let_it_expire(r)
    assert lock(r, "bob")

    assert unlock(r, "ann") == 0  # she learns that she had lost it

    assert not lock(r, "cid")
    assert unlock(r, "bob") == 1


def test_with_holdfast_the_one_who_lost_it_is_told(hf, other):
    ann = hf.lock("order:7").acquire()
    other.lock("order:7").force_release()
    with other.lock("order:7") as bob:
        assert ann.lost.wait(20)  # at once, not at the end of her work
        with pytest.raises(LockLost):
            ann.release()
        bob.ensure()  # his is untouched
