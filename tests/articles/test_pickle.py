"""`pickle.loads(r.get(key))`: who can write to the cache can run code in every process that reads it."""

from __future__ import annotations

import pickle


def get_report(r, db, report_id):
    cached = r.get(f"report:{report_id}")
    if cached is not None:
        return pickle.loads(cached)
    report = db.load(report_id)
    r.set(f"report:{report_id}", pickle.dumps(report), ex=300)
    return report


RAN: list[str] = []


def anything_at_all():
    RAN.append("in the reader's process, with its rights")


class Present:
    def __reduce__(self):
        return anything_at_all, ()


def test_reading_the_cache_runs_what_a_stranger_put_there(server, db):
    import redis

    with redis.Redis.from_url(server.url) as r:
        r.set("report:7", pickle.dumps(Present()), ex=300)

        get_report(r, db, 7)

        assert RAN == ["in the reader's process, with its rights"]
        r.delete("report:7")


def test_with_holdfast_such_bytes_are_a_miss(hf, db):
    db.rows[7] = "the report"
    reports = hf.cache("reports", ttl="5m", type=str)
    reports.get_or_set(7, lambda: db.load(7))
    [entry] = [key for key in hf.execute("KEYS", "*:cache:reports:*") if key.endswith(b"}")]
    hf.execute("SET", entry, pickle.dumps(Present()), "PX", 300_000)
    RAN.clear()

    assert reports.get_or_set(7, lambda: db.load(7)) == "the report"

    assert RAN == []
    assert sum(reports.stats().undecodable.values()) == 1
