"""`SET pending:order:7 ... EX 300` as a record of work that is under way: its end is nobody's beginning."""

from __future__ import annotations


def begin(r):
    return r.set("pending:order:7", "working", nx=True, ex=300)


def finish(r):
    r.delete("pending:order:7")


def let_it_expire(r):
    """The process has died, and five minutes are over."""
    r.pexpire("pending:order:7", 0)


def test_work_that_was_interrupted_is_forgotten(r):
    assert begin(r)
    let_it_expire(r)

    assert r.keys("pending:*") == []  # no trace of it, and nobody finishes it


def test_a_slow_worker_deletes_the_record_of_the_next(r):
    assert begin(r)
    let_it_expire(r)  # the work takes six minutes
    assert begin(r)  # somebody else begins the same

    finish(r)

    assert begin(r)  # and a third one, while the second is at it


def test_with_holdfast_it_is_finished_by_another_process(hf, other):
    def work(op):
        op.complete("shipped")

    left = hf.operations("orders", lease="300ms").run("order", "7").__enter__()
    left._keeping.close()  # the process dies: nothing renews it any more

    watcher = other.operations("orders", lease="300ms").watch(work)
    assert other.operations("orders", lease="300ms").wait("order", "7", wait="20s") == "shipped"
    watcher.close()
