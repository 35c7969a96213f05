"""What replication offsets prove. Pure."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast._wire.freshness import Sample, as_of, sample

INFO = b"""# Replication\r
role:master\r
connected_slaves:2\r
slave0:ip=10.0.0.2,port=6379,state=online,offset=42,lag=0,type=replica\r
slave1:ip=10.0.0.3,port=6379,state=wait_bgsave,offset=0,lag=0,type=replica\r
master_replid:abc\r
master_repl_offset:42\r
"""
REPLICA = (
    b"# Replication\r\nrole:slave\r\nmaster_replid:abc\r\nslave_repl_offset:40\r\nmaster_repl_offset:39\r\n"
)


def test_a_sample_is_read_and_only_replicas_in_step_count():
    assert sample(INFO, 7.0) == Sample(7.0, True, "abc", 42, (("10.0.0.2", 6379),))
    assert sample(REPLICA, 8.0) == Sample(8.0, False, "abc", 40)
    assert sample(b"role:master\r\n", 1.0) is None
    assert sample(b"NOPERM", 1.0) is None


@given(
    steps=st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=30),
    reached=st.integers(0, 90),
    other_history=st.booleans(),
)
def test_what_is_proved_is_true(steps, reached, other_history):
    """Time passes by one each step; some writes are acknowledged, then perhaps the primary is asked."""
    offset, samples, acknowledged = 0, [], []
    for now, (writes, asks) in enumerate(steps):
        if asks:
            asked_at = now + 0.5
            # Writes of this step were acknowledged before; one more comes in before the question is answered.
            acknowledged.append((now, offset + writes))
            offset += writes + 1
            samples.append(Sample(asked_at, True, "abc", offset))
        else:
            offset += writes
            acknowledged.append((now, offset))
    replica = Sample(99.0, False, "xyz" if other_history else "abc", reached)
    proved = as_of(samples, replica)
    assert all(end <= reached for when, end in acknowledged if when <= proved)
    if other_history or not samples:
        assert proved == float("-inf")
    elif reached >= samples[-1].offset:
        assert proved == samples[-1].asked_at


def test_a_demoted_primary_proves_nothing():
    assert as_of([Sample(1.0, False, "abc", 5)], Sample(2.0, False, "abc", 9)) == float("-inf")
