"""The auditor finds every stale read, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.demo.auditor import Auditor
from holdfast.cli.demo.messages import Update

CODES = ["BOS", "LHR"]


def audit(updates: list[Update], *reads: tuple[int, int, float, float]) -> Auditor:
    auditor = Auditor(updates, CODES)
    keys, versions = [read[0] for read in reads], [read[1] for read in reads]
    auditor.judge(keys, versions, [read[2] for read in reads], [read[3] for read in reads])
    return auditor


def test_a_read_is_stale_if_it_began_after_a_newer_version_was_known_to_all():
    update = Update(0, 2, committed=10.0, visible=10.5)
    assert audit([update], (0, 1, 10.6, 10.7)).stale
    assert not audit([update], (0, 2, 10.6, 10.7)).stale


def test_a_read_that_began_before_the_writer_had_finished_is_not_stale_however_long_it_took():
    update = Update(0, 2, committed=10.0, visible=10.5)
    assert not audit([update], (0, 1, 9.0, 99.0)).stale
    assert not audit([update], (0, 1, 10.4, 99.0)).stale


def test_an_airport_has_its_own_history():
    assert not audit([Update(1, 7, committed=1.0, visible=1.0)], (0, 1, 5.0, 5.1)).stale


def test_an_invalidation_that_was_never_delivered_accuses_nobody():
    assert not audit([Update(0, 2, committed=1.0, visible=None)], (0, 1, 50.0, 50.1)).stale


def test_a_later_invalidation_that_was_known_first_already_demands_the_newer_version():
    """Found: kept invalidations are delivered in any order, so the times are not those of the commits."""
    updates = [Update(0, 2, committed=1.0, visible=9.0), Update(0, 3, committed=2.0, visible=2.1)]
    assert audit(updates, (0, 2, 3.0, 3.1)).stale
    assert audit(updates, (0, 2, 10.0, 10.1)).stale
    assert not audit(updates, (0, 3, 10.0, 10.1)).stale


def test_a_lie_is_told_from_the_commit_that_ended_the_truth_to_the_last_stale_read():
    updates = [
        Update(0, version, committed=float(version), visible=version + 0.1) for version in (40, 41, 42)
    ]
    lies = audit(
        updates, (0, 40, 41.2, 41.3), (0, 40, 44.0, 44.5), (0, 41, 43.0, 43.1), (1, 1, 50.0, 51.0)
    ).lies()
    assert [(lie.airport, lie.newer, lie.served, lie.reads) for lie in lies] == [
        ("BOS", 41, 40, 2),
        ("BOS", 42, 41, 1),
    ]
    assert (lies[0].committed, lies[0].since, lies[0].until) == (41.0, 41.1, 44.5)


@given(
    st.lists(st.tuples(st.floats(0, 10), st.floats(0, 3)), min_size=1, max_size=6),
    st.integers(0, 7),
    st.floats(0, 15),
)
def test_it_agrees_with_the_definition(commits: list[tuple[float, float]], served: int, began: float):
    updates = [
        Update(0, version, committed=at, visible=at + later)
        for version, (at, later) in enumerate(sorted(commits), 1)
    ]
    newest = max(
        (one.version for one in updates if one.visible is not None and one.visible <= began), default=0
    )
    assert bool(audit(updates, (0, served, began, began + 1)).stale) == (served < newest)
