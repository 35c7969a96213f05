"""Keys: readable, and never shared by two different things."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast._wire.keys import Keys

NASTY = st.text(st.sampled_from("ab:%{}\x00 \n25é\x85"), max_size=6) | st.text(max_size=6).filter(
    lambda text: not any("\ud800" <= char <= "\udfff" for char in text)
)
PARTS = st.tuples(NASTY, NASTY, st.sampled_from(["", ":f", ":e"]))


@given(PARTS, PARTS)
def test_two_different_things_never_share_a_key(one, two):
    """Whatever separators names and tags contain. Found: a `}` left bare in a tag (`a}:f` read as the lease
    of `a`).
    """
    keys = Keys("shop")

    assert (keys.make("cache", *one) == keys.make("cache", *two)) == (one == two)


@given(NASTY)
def test_the_tag_is_what_the_cluster_hashes(tag):
    """Between the first `{` and the next `}` stands the whole tag, never empty."""
    key = Keys("sh{op").make("cache", "us{ers", tag, ":f")
    inside, _, after = key.partition("{")[2].partition("}")

    assert inside
    assert after == ":f"


def test_names_stay_readable():
    """An ordinary key looks as one would write it."""
    assert Keys("shop").make("cache", "users", "user:42") == "shop:1:cache:users:{user:42}"
