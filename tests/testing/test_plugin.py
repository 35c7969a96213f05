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
    def run(code, *, servers=None, topologies=None, before=()):
        monkeypatch.delenv("HOLDFAST_TEST_SERVERS", raising=False)
        monkeypatch.delenv("HOLDFAST_TEST_TOPOLOGIES", raising=False)
        if topologies is not None:
            monkeypatch.setenv("HOLDFAST_TEST_TOPOLOGIES", topologies)
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
    result.assert_outcomes(passed=len(kinds) + 1 + 1)
    result.stdout.fnmatch_lines([f"*test_contract*{kinds[0]}*redis-py* PASSED*"])
    if len(kinds) > 1:
        result.stdout.no_fnmatch_line(f"*test_contract*{kinds[-1]}*redis-py*")


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


def test_contracts_run_in_every_topology_unless_they_ask_for_one_server(run):
    kinds = list(available())
    result = run(
        """
        import pytest
        from holdfast.embedded import ClusterLab, SentinelLab, Server

        CLASSES = {"single": Server, "sentinel": SentinelLab, "cluster": ClusterLab}
        seen = {}

        @pytest.mark.everywhere
        def test_contract(place, topology, server_kind):
            assert type(place) is CLASSES[topology]
            assert place.kind == server_kind
            assert place.url.partition(":")[0] == {"single": "redis"}.get(topology, f"redis+{topology}")
            assert seen.setdefault((topology, server_kind), place) is place

        @pytest.mark.everywhere
        def test_the_place_is_shared(place, topology, server_kind):
            assert seen[topology, server_kind] is place
            if topology != "single":
                assert place.healthy
                assert place.nodes[0].ask("PING") == "PONG"

        @pytest.mark.everywhere
        def test_server(server, place):
            assert place is server

        def test_other(place):
            assert type(place) is Server
        """,
        topologies="single, sentinel,cluster",
    )
    result.assert_outcomes(passed=7 * len(kinds) + 1)
    result.stdout.fnmatch_lines([f"*test_contract*{kinds[-1]}*cluster* PASSED*"])


def test_an_unknown_topology_fails_the_run(run):
    result = run("def test_nothing(): ...", topologies="single,star")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*HOLDFAST_TEST_TOPOLOGIES asks for star*"])


def test_labs_are_shared_and_whole_and_those_of_ones_own_can_be_cut(run):
    result = run("""
        pids = []
        def test_shared(sentinel_lab, cluster_lab):
            pids.extend(node.pid for node in [*sentinel_lab.nodes, *cluster_lab.nodes])
        def test_same(sentinel_lab, cluster_lab):
            assert pids == [node.pid for node in [*sentinel_lab.nodes, *cluster_lab.nodes]]
            sentinel_lab.replicas[0].kill()
            cluster_lab.nodes[0].freeze()
        def test_made_anew(sentinel_lab, cluster_lab):
            assert sentinel_lab.healthy and cluster_lab.healthy
            assert not set(pids) & {node.pid for node in [*sentinel_lab.nodes, *cluster_lab.nodes]}
        def test_own_sentinels(own_sentinel_lab):
            own_sentinel_lab.primary.cut_off()
        def test_own_cluster(own_cluster_lab):
            own_cluster_lab.primaries[0].cut_off()
    """)
    result.assert_outcomes(passed=5)


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
