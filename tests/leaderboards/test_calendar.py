"""Periods: without holes in every time zone, whatever people do to their clocks. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast import ConfigurationError
from holdfast.leaderboards.calendar import Calendar
from holdfast.leaderboards.options import Season, milliseconds

HOUR, DAY = 3_600_000, 86_400_000
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # put its clocks forward at midnight: days without one
    "America/Havana",  # puts them back over midnight: days with two
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # by half an hour
    "Pacific/Apia",  # had no 2011-12-30
    "Africa/Casablanca",
    "Asia/Beirut",
    "America/St_Johns",  # put them forward a minute after midnight
]
START, END = datetime(2032, 1, 1, tzinfo=UTC), datetime(2032, 6, 1, tzinfo=UTC)


def calendar(tz: str = "UTC", keep: int | None = 5 * DAY) -> Calendar:
    periods = ("day", "week", "month", "all", Season("cup", START, END))
    return Calendar(periods, ZoneInfo(tz), keep)


def ms(text: str, tz: str = "UTC") -> int:
    return milliseconds(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(tz)), "at")


@given(
    st.sampled_from(ZONES),
    st.sampled_from(["day", "week", "month"]),
    st.integers(ms("1995-01-01"), ms("2039-01-01")),
)
@example("Pacific/Apia", "day", ms("2011-12-30T10:00"))
@example("America/Sao_Paulo", "day", ms("2017-10-15T03:00"))
@example("America/Havana", "day", ms("2025-11-02T04:30"))
@example("America/St_Johns", "day", ms("2006-10-29T02:31"))
def test_periods_follow_each_other_without_a_hole(tz: str, kind: str, now: int):
    """found: the day by the local date alone, which is yesterday's again after clocks were put back."""
    about = calendar(tz)
    window = about.around(now)[kind]
    assert window.begins <= now < window.ends
    assert about.around(window.begins)[kind] == window, "its first moment"
    assert about.around(window.ends - 1)[kind] == window, "its last moment"
    after, before = about.around(window.ends)[kind], about.around(window.begins - 1)[kind]
    assert after.begins == window.ends and after.part > window.part
    assert before.ends == window.begins and before.part < window.part
    assert window.expires == window.ends + 5 * DAY and window.is_sure
    local = datetime.fromtimestamp((window.begins + window.ends) / 2000, UTC).astimezone(ZoneInfo(tz))
    names = {
        "day": f":day:{local.date()}",
        "week": f":week:{local.isocalendar().year}-W{local.isocalendar().week:02}",
        "month": f":month:{local:%Y-%m}",
    }
    assert window.part == names[kind]


@given(st.sampled_from(ZONES), st.sampled_from(["day", "week", "month"]), st.integers(0, 40))
def test_ago_leads_back_through_the_periods(tz: str, kind: str, ago: int):
    about = calendar(tz)
    now = about.around(ms("2026-03-31T12:00"))[kind]
    window = now
    for _ in range(ago):
        window = about.around(window.begins - 1)[kind]
    assert about.back(kind, now, ago) == window


def test_a_day_has_as_many_hours_as_its_clocks_make_it():
    berlin = calendar("Europe/Berlin")
    for day, hours in (("2026-03-28", 24), ("2026-03-29", 23), ("2026-10-25", 25)):
        window = berlin.around(ms(f"{day}T12:00", "Europe/Berlin"))["day"]
        assert (window.part, window.ends - window.begins) == (f":day:{day}", hours * HOUR)
        assert window.begins == ms(day, "Europe/Berlin")


def test_weeks_are_iso_and_belong_to_the_year_of_their_thursday():
    about = calendar()
    assert about.around(ms("2026-01-01T00:00"))["week"].part == ":week:2026-W01"
    assert about.around(ms("2027-01-01T00:00"))["week"].part == ":week:2026-W53"
    window = about.around(ms("2026-12-28T00:00"))["week"]
    assert window.begins == ms("2026-12-28") and window.ends == ms("2027-01-04")


def test_seasons_and_all_have_their_own_bounds():
    about = calendar()
    for now in (0, ms("2032-02-01"), ms("2040-01-01")):
        windows = about.around(now)
        cup = windows["cup"]
        assert (cup.part, cup.begins, cup.ends, cup.is_sure) == (
            ":season:cup",
            ms("2032-01-01"),
            ms("2032-06-01"),
            False,
        )
        assert cup.expires == cup.ends + 5 * DAY
        assert windows["all"] == (":all", 0, 0, 0, False)
    assert calendar(keep=None).around(0)["day"].expires == 0
    other = Season("a: {b}", START, END)
    assert about.season(other).part == ":season:a%3A%20%7Bb%7D"


def test_a_past_period_is_named_by_a_moment_in_it():
    about = calendar("America/New_York")
    at = datetime(2026, 3, 1, 2, tzinfo=UTC)
    assert about.at("day", at).part == ":day:2026-02-28"
    assert about.at("month", at).part == ":month:2026-02"
    assert about.at("week", at.astimezone(ZoneInfo("Asia/Tokyo"))).part == ":week:2026-W09"


def test_what_is_no_period_is_refused_with_a_reason():
    about = calendar()
    now = about.around(0)["day"]
    with pytest.raises(ConfigurationError, match="none of this board's"):
        about.named("year")
    with pytest.raises(ConfigurationError, match="period=7"):
        about.named(7)  # type: ignore[arg-type]
    assert about.named(None) == "day" and about.named(Season("cup", START, END)) == "cup"
    with pytest.raises(ConfigurationError, match="time zone"):
        about.at("day", datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ConfigurationError, match="there is only one 'all'"):
        about.at("all", START)
    for kind in ("cup", "all"):
        with pytest.raises(ConfigurationError, match="ago=1"):
            about.back(kind, now, 1)
    for ago in (-1, True, 1.5, 10**9):
        with pytest.raises(ConfigurationError, match="ago="):
            about.back("day", now, ago)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="beyond"):
        about.at("month", datetime.max.replace(tzinfo=UTC) - timedelta(days=1))
