"""What the store remembers of each rule: since when it is in force, when it last changed, how it last measured."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast

from alerting.rule_health import Record
from alerting.rule_settings import RuleSettings
from storage.database import Database, Many, Sql, Work
from storage.times import from_micros, to_micros

_NOTE = """
INSERT INTO rule_records (rule_id, digest, enabled, enabled_at, changed_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (rule_id) DO UPDATE SET
    enabled_at = CASE WHEN rule_records.enabled = 0 AND excluded.enabled = 1 THEN excluded.enabled_at ELSE rule_records.enabled_at END,
    changed_at = CASE WHEN rule_records.digest <> excluded.digest THEN excluded.changed_at ELSE rule_records.changed_at END,
    digest = excluded.digest,
    enabled = excluded.enabled
"""
_READ = "SELECT rule_id, enabled_at, changed_at, measured_at, score FROM rule_records"
_MEASURED = "UPDATE rule_records SET measured_at = ?, score = ? WHERE rule_id = ?"


async def records(database: Database) -> dict[str, Record]:
    """Return what is remembered, by the ids of rules."""
    found: dict[str, Record] = {}
    for row in await database.read(_READ):
        rule_id, enabled_at, changed_at, measured_at, score = cast("tuple[str, int, int, int | None, int | None]", row)
        found[rule_id] = Record(
            enabled_at=from_micros(enabled_at),
            changed_at=from_micros(changed_at),
            measured_at=None if measured_at is None else from_micros(measured_at),
            score=score,
        )
    return found


def note(rules: Sequence[RuleSettings], *, at: datetime) -> Work[None]:
    """Remember the rules as they are now; forget those that are gone."""
    moment = to_micros(at)
    known = {cast("str", row[0]) for row in (yield Sql("SELECT rule_id FROM rule_records"))}
    gone = known - {rule.id for rule in rules}
    if gone:
        yield Many("DELETE FROM rule_records WHERE rule_id = ?", [(rule_id,) for rule_id in sorted(gone)])
    if rules:
        yield Many(_NOTE, [(rule.id, _digest(rule), int(rule.enabled), moment, moment) for rule in rules])


def measured(scores: Mapping[str, int], *, at: datetime) -> Work[None]:
    """Remember the scores of rules."""
    if scores:
        yield Many(_MEASURED, [(to_micros(at), score, rule_id) for rule_id, score in scores.items()])


def _digest(rule: RuleSettings) -> str:
    """Return what is equal exactly for rules that say the same; whether it is enabled is told apart."""
    return hashlib.sha256(rule.model_dump_json(exclude={"enabled"}, by_alias=True).encode()).hexdigest()[:32]
