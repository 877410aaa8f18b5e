"""What the audit trail says of a config that was read again: what changed by key and name, never a secret's value."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from tollwatch.config import Config


def changes(before: Config, after: Config, keys: Sequence[str]) -> str:
    """Return, as JSON, the keys that changed, the mode's two values, and which rules, budgets and their like came, went or changed."""
    told: dict[str, object] = {"changed": list(keys)}
    if before.mode != after.mode:
        told["mode"] = [before.mode, after.mode]
    for section, (old, new) in {
        "rules": (_by(before.rules, "id"), _by(after.rules, "id")),
        "budgets": (_by(before.budgets, "name"), _by(after.budgets, "name")),
        "users": (_by(before.users, "name"), _by(after.users, "name")),
        "alerting.entry_configs": (_by(before.alerting.entry_configs, "title"), _by(after.alerting.entry_configs, "title")),
        "usage_alerts": (_by(before.usage_alerts, "name"), _by(after.usage_alerts, "name")),
    }.items():
        if differences := _differences(old, new):
            told[section] = differences
    return json.dumps(told)


def _by(items: Iterable[Any], name: str) -> dict[str, Any]:
    return {str(getattr(item, name)): item for item in items}


def _differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, list[str]]:
    found = {
        "added": sorted(new.keys() - old.keys()),
        "removed": sorted(old.keys() - new.keys()),
        "changed": sorted(name for name in old.keys() & new.keys() if old[name] != new[name]),
    }
    return {what: names for what, names in found.items() if names}
