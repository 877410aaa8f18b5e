"""Imports of mitmproxy without the addons of its own program: they bring a web framework, LDAP and more, a quarter of the start."""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path

_NAME = "mitmproxy.addons"


def leave_addons_unloaded() -> None:
    """Let `mitmproxy.addons` be a bare folder of modules, of which only those are loaded that somebody imports."""
    package = find_spec("mitmproxy")
    if _NAME in sys.modules or package is None or not package.submodule_search_locations:
        return
    bare = ModuleSpec(_NAME, None, is_package=True)
    bare.submodule_search_locations = [str(Path(folder) / "addons") for folder in package.submodule_search_locations]
    sys.modules[_NAME] = module_from_spec(bare)
