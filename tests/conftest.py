"""Loads the plugin that users get too, unless the installed package has already brought it."""

from importlib.metadata import entry_points

_installed = any(one.value == "holdfast.testing.plugin" for one in entry_points(group="pytest11"))

pytest_plugins = ["pytester", *([] if _installed else ["holdfast.testing.plugin"])]
