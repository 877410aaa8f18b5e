"""What people and time do to an alert: each change one conditional statement and one row of history."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

from alerting.alert import AlertAction, Change
from alerting.episodes import HISTORY, SYSTEM, base_of, ends_by, lifted
from alerting.kinds import Ends
from storage.database import Many, Row, Sql, Value, Work
from storage.times import to_micros

_CONDITION_KINDS = ", ".join(f"'{kind.value}'" for kind in ends_by(Ends.CONDITION))
_QUIET_KINDS = ", ".join(f"'{kind.value}'" for kind in ends_by(Ends.QUIET))

_EXPIRE = f"""
UPDATE alerts SET resolved_at = ?, resolved_by = ?, resolution = ?, updated_at = ?
WHERE resolved_at IS NULL
  AND ((expires_at IS NULL AND last_seen_at <= ? AND kind NOT IN ({_CONDITION_KINDS})) OR expires_at <= ?)
RETURNING seq
"""  # noqa: S608  # only constants of this module are put together

_UNMUTE = f"""
DELETE FROM alert_mutes
WHERE (quiet_since_at <= ? AND alert_seq IN (SELECT seq FROM alerts WHERE kind IN ({_QUIET_KINDS})))
   OR alert_seq IN (SELECT seq FROM alerts WHERE expires_at <= ?)
"""  # noqa: S608  # the same

_OUTLIVED = """
SELECT seq FROM alerts
WHERE resolved_at IS NOT NULL AND updated_at < ?
  AND seq < (SELECT MAX(seq) FROM alerts)
  AND seq <> (SELECT alert_seq FROM alert_history ORDER BY seq DESC LIMIT 1)
  AND seq NOT IN (SELECT alert_seq FROM alert_mutes)
ORDER BY seq LIMIT ?
"""
_OLD_DETECTIONS = "DELETE FROM detections WHERE detected_at < ? AND alert_seq IN (SELECT seq FROM alerts WHERE resolved_at IS NULL)"
_PRUNE_BATCH = 500


def view(seq: int, *, at: datetime, actor: str, feed: str | None) -> Work[Change]:
    """Note that somebody looked; the first time stays."""
    rows = yield Sql("UPDATE alerts SET viewed_at = ? WHERE seq = ? AND viewed_at IS NULL RETURNING seq", (to_micros(at), seq))
    return (yield from _concluded(rows, AlertAction.VIEWED, seq=seq, at=at, actor=actor, feed=feed))


def acknowledge(seq: int, *, at: datetime, actor: str, feed: str | None, note: str | None = None) -> Work[Change]:
    """Say that somebody has taken it up. A resolved alert stays as it is."""
    moment = to_micros(at)
    rows = yield Sql(
        "UPDATE alerts SET acknowledged_at = ?, acknowledged_by = ?, updated_at = ? "
        "WHERE seq = ? AND acknowledged_at IS NULL AND resolved_at IS NULL RETURNING seq",
        (moment, actor, moment, seq),
    )
    change = yield from _concluded(rows, AlertAction.ACKNOWLEDGED, seq=seq, at=at, actor=actor, feed=feed, note=note)
    if change is Change.ALREADY:
        resolved = yield Sql("SELECT 1 FROM alerts WHERE seq = ? AND resolved_at IS NOT NULL", (seq,))
        return Change.RESOLVED if resolved else change
    return change


def act(seq: int, *, text: str, at: datetime, actor: str, feed: str | None) -> Work[Change]:
    """Note what was done about it, whether it is resolved or not."""
    rows = yield Sql("UPDATE alerts SET updated_at = ? WHERE seq = ? RETURNING seq", (to_micros(at), seq))
    return (yield from _concluded(rows, AlertAction.ACTED, seq=seq, at=at, actor=actor, feed=feed, note=text))


def resolve(seq: int, *, at: datetime, actor: str, feed: str | None, note: str | None = None) -> Work[Change]:
    """End the episode; the first note stays. A recurrence opens a new one."""
    moment = to_micros(at)
    rows = yield Sql(
        "UPDATE alerts SET resolved_at = ?, resolved_by = ?, resolution = ?, resolution_note = ?, updated_at = ? "
        "WHERE seq = ? AND resolved_at IS NULL RETURNING seq",
        (moment, actor, AlertAction.RESOLVED.value, note, moment, seq),
    )
    for _ in rows:
        yield lifted(seq, moment)
    return (yield from _concluded(rows, AlertAction.RESOLVED, seq=seq, at=at, actor=actor, feed=feed, note=note))


def dismiss(seq: int, *, at: datetime, actor: str, feed: str | None) -> Work[Change]:
    """End the episode and mute its fingerprint: until it has been quiet, or its condition has cleared, it opens no new one."""
    moment = to_micros(at)
    rows = yield Sql(
        "UPDATE alerts SET dismissed_at = ?, resolved_at = ?, resolved_by = ?, resolution = ?, updated_at = ? "
        "WHERE seq = ? AND resolved_at IS NULL RETURNING fingerprint",
        (moment, moment, actor, AlertAction.DISMISSED.value, moment, seq),
    )
    for row in rows:
        yield Sql(
            "INSERT INTO alert_mutes (fingerprint, alert_seq, since_at, quiet_since_at) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (fingerprint) DO UPDATE SET alert_seq = excluded.alert_seq, since_at = excluded.since_at, "
            "quiet_since_at = excluded.quiet_since_at",
            (base_of(cast("str", row[0])), seq, moment, moment),
        )
    return (yield from _concluded(rows, AlertAction.DISMISSED, seq=seq, at=at, actor=actor, feed=feed))


def _concluded(  # noqa: PLR0913  # all keyword-only but the first two: what a row of history says
    rows: Sequence[Row], action: AlertAction, *, seq: int, at: datetime, actor: str, feed: str | None, note: str | None = None
) -> Work[Change]:
    if rows:
        yield Sql(HISTORY, (seq, to_micros(at), action.value, actor, feed, note))
        return Change.DONE
    known = yield Sql("SELECT 1 FROM alerts WHERE seq = ?", (seq,))
    return Change.ALREADY if known else Change.MISSING


def expire(*, at: datetime, expire_after: timedelta) -> Work[list[int]]:
    """End the episodes whose time has come, and the mutes that have been quiet long enough; return the `seq` of each that ended."""
    moment, quiet_since = to_micros(at), to_micros(at - expire_after)
    rows = yield Sql(_EXPIRE, (moment, SYSTEM, AlertAction.EXPIRED.value, moment, quiet_since, moment))
    ended: list[tuple[Value, ...]] = [(row[0], moment, AlertAction.EXPIRED.value, SYSTEM, None, None) for row in rows]
    if ended:
        yield Many(HISTORY, ended)
    yield Sql(_UNMUTE, (quiet_since, moment))
    return [cast("int", row[0]) for row in rows]


def prune(*, before: datetime) -> Work[int]:
    """Delete a batch of resolved alerts that nothing has touched since `before`, with their history and detections.

    The newest alert and the one that changed last stay whatever their age, so that no number is given twice. Of an alert that is
    still open only the detections from before are deleted. Return how many alerts were.
    """
    moment = to_micros(before)
    yield Sql(_OLD_DETECTIONS, (moment,))
    rows = yield Sql(_OUTLIVED, (moment, _PRUNE_BATCH))
    seqs = [(cast("int", row[0]),) for row in rows]
    if seqs:
        yield Many("DELETE FROM detections WHERE alert_seq = ?", seqs)
        yield Many("DELETE FROM alert_history WHERE alert_seq = ?", seqs)
        yield Many("DELETE FROM alert_raises WHERE alert_seq = ? AND position < (SELECT MAX(position) FROM alert_raises)", seqs)
        yield Many("DELETE FROM alerts WHERE seq = ?", seqs)
    return len(seqs)
