"""The examples are run."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from tests.docs.blocks import ROOT

EXAMPLES = ROOT / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples.{name}", EXAMPLES / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_quickstart_asks_three_times_for_six_reads(tmp_path):
    assert run(str(EXAMPLES / "quickstart.py"), folder=tmp_path).splitlines() == [
        "  (asking the database)",
        "User(id=42, name='Ann') User(id=42, name='Ann')",
        "  (asking the database)",
        "User(id=42, name='Bea')",
        "  (asking the database)",
        "None None",
    ]


def test_read_through(tmp_path):
    assert run(str(EXAMPLES / "read_through.py"), folder=tmp_path).split("\n")[:3] == [
        "no price", "3.5", "no price"
    ]  # fmt: skip


def test_a_payment_that_survives_its_process(tmp_path):
    assert run(str(EXAMPLES / "payments.py"), folder=tmp_path).splitlines() == [
        "  attempt 1: charged 500",
        "the process is dead; the payment is running",
        "  attempt 2: charged before, as ch_7",
        "{'receipt': 'for ch_7'}",
        "charges made by this process: 0",
    ]


def test_a_report_that_one_process_writes(tmp_path):
    assert run(str(EXAMPLES / "one_at_a_time.py"), folder=tmp_path).splitlines() == [
        "held by nightly",
        "somebody else gets None",
        "stopped: vanished",
        "refused: ConflictError",
        "it says second",
    ]


def test_prices_that_a_subscriber_missed(tmp_path):
    assert run(str(EXAMPLES / "ticker.py"), folder=tmp_path).splitlines() == [
        "in order: 100 101",
        "while away: 102",
        "then: 4 missed (trimmed)",
        "then: 107",
        "then: 108",
        "then: 109",
    ]


def test_an_order_and_what_happened_to_it(tmp_path):
    assert run(str(EXAMPLES / "ordering.py"), folder=tmp_path).splitlines() == [
        "order-1 cannot be shipped: Order(due=500, shipped=False)",
        "expected version 1, but it is 2",
        "1 Placed(customer='ann', cents=500)",
        "2 Paid(cents=500)",
        "3 Shipped(parcel='parcel-7')",
        "b'800' b'200'",
        "b'500' by version 2",
        "1 key of version 1 deleted",
    ]


def test_workers_that_are_killed_do_every_order_once(tmp_path):
    last = run(str(EXAMPLES / "orders.py"), folder=tmp_path).splitlines()[-1]
    assert last.startswith("2000 orders, 2000 bills, 200000 cents; ")


async def test_a_cached_endpoint(server, monkeypatch):
    monkeypatch.setenv("HOLDFAST_URL", server.url)
    example = load("fastapi_app")
    client = httpx.AsyncClient(transport=httpx.ASGITransport(example.app), base_url="http://service")
    async with example.app.router.lifespan_context(example.app), client:
        boston = {"code": "BOS", "name": "Boston"}
        assert (await client.get("/airports/BOS")).json() == boston
        assert (await client.get("/airports/BOS")).json() == boston
        assert example.queries == 1

        assert (await client.put("/airports/BOS", params={"name": "Logan"})).json() is True
        assert (await client.get("/airports/BOS")).json() == {"code": "BOS", "name": "Logan"}
        assert example.queries == 2


def test_it_takes_ten_lines():
    code = (EXAMPLES / "fastapi_app.py").read_text(encoding="utf-8")
    _, ours, _ = code.split("# ---")
    _title, *lines = filter(None, ours.splitlines())

    assert len(lines) == 10


@pytest.mark.parametrize("name", ["test_orders.py"])
def test_the_fixtures_of_holdfast_testing(name, tmp_path):
    (tmp_path / name).write_text((EXAMPLES / name).read_text(encoding="utf-8"), encoding="utf-8")
    installed = any(one.value == "holdfast.testing.plugin" for one in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "holdfast.testing.plugin"]

    told = run("-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, name, folder=tmp_path)

    assert "3 passed" in told


async def test_a_shop_that_limits_counts_and_ranks(server, monkeypatch):
    monkeypatch.setenv("HOLDFAST_URL", server.url)
    module = load("shop_limits")
    await module.hf.execute("FLUSHDB")
    async with (
        module.hf,
        httpx.AsyncClient(transport=httpx.ASGITransport(module.app), base_url="http://shop") as client,
    ):
        found = [await client.get("/search", headers={"X-Api-Key": "ann"}) for _ in range(7)]
        assert [one.status_code for one in found] == [200] * 5 + [429] * 2
        assert found[0].headers["X-RateLimit-Remaining"] == "4"
        assert 1 <= int(found[6].headers["Retry-After"]) <= 60
        assert found[6].json()["violated-policies"]
        assert (await client.post("/buy/ann?price=30")).json() == {"rank": 1, "spent": 30}
        assert (await client.post("/buy/bea?price=50")).json() == {"rank": 1, "spent": 50}
        assert (await client.post("/buy/ann?price=40")).json() == {"rank": 1, "spent": 70}
        report = (await client.get("/report")).json()
        assert report == {"sold today": 120, "best": [["ann", 70], ["bea", 50]]}
