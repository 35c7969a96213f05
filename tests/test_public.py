"""The public names: all of them there, loaded lazily, and the same in both flavours."""

import inspect
import subprocess
import sys

import pytest

import holdfast

ASYNC = [name for name in holdfast.__all__ if name.startswith("Async") and name != "AsyncSource"]


@pytest.mark.parametrize("name", holdfast.__all__)
def test_every_name_is_there(name):
    """What `__all__` promises can be imported."""
    assert getattr(holdfast, name) is not None


def test_all_is_what_is_loaded_lazily():
    """The list for people and checkers, and the table for the interpreter."""
    assert set(holdfast.__all__) == {*holdfast._HOME_OF, "__version__"}


def test_importing_it_loads_nothing():
    """Neither asyncio nor redis-py: a program pays for what it uses."""
    code = "import sys; before = set(sys.modules); import holdfast; print(*sorted(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    loaded = set(run.stdout.split())

    assert "holdfast" in loaded
    assert not loaded & {"asyncio", "hiredis", "msgspec", "redis", "threading", "typing"}


def test_a_client_does_without_redis_py_unless_asked():
    """Its import takes longer than all of ours."""
    code = "import sys; from holdfast import Holdfast; Holdfast('redis://h'); print('redis' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)

    assert run.stdout.strip() == "False"


@pytest.mark.parametrize("name", ASYNC)
def test_both_flavours_have_the_same_methods(name):
    """Same names, same arguments; a method of an Async class is a coroutine or plain, its twin is plain."""
    one, other = getattr(holdfast, name), getattr(holdfast, name.removeprefix("Async"))
    public = {attribute for attribute in vars(one) if not attribute.startswith("_")}

    assert public == {attribute for attribute in vars(other) if not attribute.startswith("_")}
    for attribute in public:
        function, twin = getattr(one, attribute), getattr(other, attribute)
        if callable(function):
            assert list(inspect.signature(function).parameters) == list(inspect.signature(twin).parameters)
            assert not inspect.iscoroutinefunction(twin)


def test_an_unknown_name_is_an_attribute_error():
    """As in any module."""
    with pytest.raises(AttributeError, match="Lokc"):
        _ = holdfast.Lokc  # type: ignore[attr-defined]
