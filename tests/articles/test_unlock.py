"""`DEL lock` at the end of the work deletes whatever lock is there, also somebody else's."""

from __future__ import annotations

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


def test_with_holdfast_the_same_script_until_locks_are_here(hf):
    unlock = hf.script("unlock.lua", text=UNLOCK)
    key = hf.key("order:7")
    hf.execute("SET", key, "bob", "NX", "PX", 5000)

    assert unlock.run([key], ["ann"]) == 0
    assert unlock.run([key], ["bob"]) == 1
