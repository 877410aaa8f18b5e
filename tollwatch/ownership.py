"""Whether the six top-level packages are tollwatch's own: `proxy` and `api` are names that others use too."""

from collections.abc import Iterable, Mapping
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Final

PACKAGES: Final = ("tollwatch", "proxy", "api", "alerting", "metering", "storage")


def conflict(owners: Mapping[str, Iterable[str]] | None = None, *, home: Path | None = None) -> str | None:
    """Return one sentence when another distribution, or a folder found earlier, owns one of the packages."""
    owners = packages_distributions() if owners is None else owners
    home = home or Path(__file__).resolve().parents[1]
    for package in PACKAGES:
        others = sorted(set(owners.get(package, ())) - {"tollwatch"})
        if others:
            return f"The package {package!r} is also installed by {', '.join(others)}: install tollwatch by `uv tool install` or pipx"
        found = find_spec(package)
        place = Path(found.origin).resolve().parent if found and found.origin else None
        if place != home / package:
            return f"The package {package!r} is found in {place}, not in {home}: start tollwatch from another folder, or clear PYTHONPATH"
    return None
