"""The gateway starts without what only mitmproxy's own program needs."""

import subprocess
import sys


def test_the_addons_of_mitmproxy_are_loaded_one_by_one() -> None:
    program = (
        "import sys, proxy.server; from mitmproxy.addons import core, next_layer;"
        "print(*[name for name in ('flask', 'ldap3', 'tornado', 'mitmproxy.addons.onboarding') if name in sys.modules], core.Core.__name__)"
    )

    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60).stdout

    assert said == "Core\n"


def test_an_import_of_the_package_alone_loads_no_mitmproxy() -> None:
    program = "import sys, proxy; print([name for name in sys.modules if name.startswith('mitmproxy')])"

    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60).stdout

    assert said == "['mitmproxy.addons']\n"
