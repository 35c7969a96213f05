"""The plugin, in a pytest of its own: what its fixtures give, and where contracts run."""

import pytest

from holdfast.testing import available

CONFIG = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
"""


@pytest.fixture
def run(pytester, monkeypatch):
    def run(code, *, servers=None, before=()):
        monkeypatch.delenv("HOLDFAST_TEST_SERVERS", raising=False)
        if servers is not None:
            monkeypatch.setenv("HOLDFAST_TEST_SERVERS", servers)
        pytester.makeini(CONFIG)
        pytester.makepyfile(code)
        return pytester.runpytest_subprocess(*before, "-p", "holdfast.testing.plugin", "-W", "error", "-v")

    return run


def test_fixtures_give_clients_of_one_real_server_in_namespaces_of_their_own(run):
    result = run("""
        seen = []
        def test_sync(hf, server):
            hf.execute("SET", hf.key("a"), 1)
            seen.append((server.pid, hf.key("a")))
        async def test_async(ahf, server):
            assert await ahf.execute("GET", ahf.key("a")) is None
            seen.append((server.pid, ahf.key("a")))
        def test_seen():
            assert seen[0][0] == seen[1][0] and seen[0][1] != seen[1][1]
        def test_faults(faults, namespace):
            from holdfast import Holdfast
            with Holdfast(faults.url, namespace=namespace) as hf:
                hf.execute("SET", hf.key("a"), 1)
            assert faults.commands("SET")
    """)
    result.assert_outcomes(passed=4)


def test_a_server_that_a_test_broke_is_made_anew_and_a_server_of_ones_own_is_not_shared(run):
    result = run("""
        def test_break(server):
            server.kill()
        def test_freeze(server):
            assert server.running
            server.freeze()
        def test_after(hf):
            assert hf.execute("PING")
        def test_own(own_server, server):
            assert own_server.pid != server.pid
            own_server.kill()
            assert server.running
    """)
    result.assert_outcomes(passed=4)


def test_contracts_run_on_every_server_and_transport_other_tests_on_one(run):
    kinds = list(available())
    result = run("""
        import pytest
        @pytest.mark.everywhere
        def test_contract(hf, server, server_kind, transport):
            assert server.kind == server_kind
        def test_other(server, server_kind, transport):
            assert (server.kind, transport) == (server_kind, "native")
    """)
    result.assert_outcomes(passed=2 * len(kinds) + 1)
    result.stdout.fnmatch_lines([f"*test_contract*{kinds[-1]}*redis-py* PASSED*"])


def test_the_environment_names_the_kinds(run):
    code = """
        import pytest
        @pytest.mark.everywhere
        def test_contract(server_kind): ...
    """
    kind = list(available())[-1]
    run(code, servers=kind).assert_outcomes(passed=1)
    result = run(code, servers=f"{kind},nosuch")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*HOLDFAST_TEST_SERVERS asks for nosuch*"])


def test_a_run_that_uses_nothing_of_it_pays_nothing(run):
    result = run("""
        import sys
        def test_nothing():
            heavy = {"redis", "msgspec", "hiredis", "holdfast.testing.proxy", "holdfast.embedded"}
            assert not heavy & set(sys.modules)
    """)
    result.assert_outcomes(passed=1)


def test_without_an_event_loop_for_tests_the_error_names_what_to_install(run, pytester):
    pytester.makepyfile(
        hide="""
        import importlib.util
        real = importlib.util.find_spec
        hidden = ("pytest_asyncio", "anyio")
        importlib.util.find_spec = lambda name, *more: None if name in hidden else real(name, *more)
    """
    )
    result = run("def test_async(ahf): ...", before=["-p", "hide"])
    result.stdout.fnmatch_lines(["*pip install pytest-asyncio*"])
