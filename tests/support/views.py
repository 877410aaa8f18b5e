"""Every view of the alerts, held against the model."""

import asyncio
from typing import Any

from alerting.entry_settings import SHIPPED
from alerting.kinds import KINDS
from tests.support.expected import USAGE, Done, Expected, Model
from tests.support.house import NAME, House

ORG = "/v1/alerts"


class Living(Model):
    """The model, and the house that it is held against."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.house: House

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def ask(self, method: str, path: str, *, status: int = 200, **more: Any) -> Any:
        found, body = self.run(self.house.ask(method, path, **more))
        assert found == status, (method, path, found, body)
        return body

    def unseen_detections(self) -> dict[str, int]:
        rows = self.run(self.house.database.read("SELECT id, alert_seq FROM detections"))
        return {row[0]: row[1] for row in rows if row[0] not in self.detections}

    def id_of(self, alert: Expected) -> str:
        return str(self.run(self.house.services.alerts.get(alert.seq)).id)

    def entries_shown(self) -> list[Any]:
        return list(self.ask("GET", "/api/v1/alerts/entries?since=2026-01-01"))

    def members(self, entry_id: str) -> list[Expected]:
        rows = self.run(self.house.database.read("SELECT alert_seq FROM entry_alerts WHERE entry_id = ? ORDER BY alert_seq", (entry_id,)))
        return [self.alerts[row[0] - 1] for row in rows]


def the_book(living: Living) -> None:
    stored = living.run(living.house.services.alerts.list(limit=1000))
    seen = [(a.seq, a.kind, a.occurrence_count, a.status, a.resolution, a.last_seen_at, a.dismissed_at is not None) for a in stored]
    assert seen == [(a.seq, a.sort.kind, a.count, a.status, a.resolution, a.last_seen, a.dismissed) for a in living.newest()]
    counts = living.run(living.house.services.alerts.counts())
    statuses = [alert.status for alert in living.alerts]
    assert [counts.open, counts.acknowledged, counts.resolved] == [statuses.count(s) for s in ("open", "acknowledged", "resolved")]


def the_history(living: Living) -> None:
    for alert in living.alerts:
        told = living.run(living.house.services.alerts.history(alert.seq))
        assert [(entry.action, entry.feed, entry.note) for entry in told] == alert.history
        assert all(entry.actor == "cli" or entry.actor.startswith(NAME) for entry in told if entry.feed)
        assert {entry.actor for entry in told if not entry.feed} == {"system"}


def the_stream(living: Living) -> None:
    """Goes on after what was told before, and tells each change once."""
    latest = str(living.run(living.house.services.streams.changes.latest()))
    told = living.run(living.house.stream(living.streamed, latest)) if latest != living.streamed else []
    living.streamed = latest
    for alert in living.alerts:
        mine = [one for one in told if one["alert"]["seq"] == alert.seq]
        changes = [(one["change"], one["feed"], one["note"]) for one in mine if one["change"] != "raised"]
        assert changes == alert.history[alert.streamed :]
        alert.streamed = len(alert.history)
        assert (alert.seq in living.raised) == any(one["change"] == "raised" for one in mine)
        assert all((one["alert"]["status"], one["alert"]["occurrence_count"]) == (alert.status, alert.count) for one in mine)
    living.raised.clear()


def the_local_feed(living: Living) -> None:
    expected = [(f"alert_{a.seq}", a.sort.local, a.resolution is not None) for a in living.newest(lambda a: a.sort.local is not None)]
    assert [(a["id"], a["type"], a["dismissed"]) for a in living.ask("GET", "/api/alerts")["alerts"]] == expected
    ended = living.ask("GET", "/api/alerts?dismissed=true")["alerts"]
    assert [a["id"] for a in ended] == [seq for seq, _, is_over in expected if is_over]


def the_rules_feed(living: Living) -> None:
    shown = living.ask("GET", "/api/v1/alerts?limit=100")
    words = {"open": "active"}
    mine = list(living.newest(lambda a: KINDS[a.sort.kind].rules_type is not None))
    assert shown["total"] == len(mine)
    assert [(a["id"], a["status"]) for a in shown["alerts"]] == [(f"alert-{a.seq:03d}", words.get(a.status, a.status)) for a in mine]


def the_org_feed(living: Living) -> None:
    shown = living.ask("GET", f"{ORG}?limit=100")
    mine = list(living.newest(lambda a: a.sort.org is not None))
    assert shown["total_count"] == len(mine)
    told = [(a["metadata"]["kind"], a["status"], a["metadata"]["occurrence_count"]) for a in shown["items"]]
    assert told == [(a.sort.kind, a.status, a.count) for a in mine]


def the_account_feed(living: Living) -> None:
    [usage] = living.ask("GET", "/api/account/alerts")["alerts"]
    shown = living.ask("GET", f"/api/account/alerts/{usage['id']}")
    mine = [alert.acknowledged or alert.resolution is not None for alert in living.newest(lambda a: a.sort is USAGE)]
    assert [trigger["acknowledged"] for trigger in shown["recent_triggers"]] == mine[:10]


def the_alertmanager(living: Living) -> None:
    shown = living.ask("GET", "/alertmanager/api/v2/alerts")
    seqs = {one["fingerprint"]: int(one["annotations"]["alert_id"].removeprefix("alert_")) for one in shown}
    told = [
        (seqs[one["fingerprint"]], set(one["status"]["silencedBy"]), {seqs[by] for by in one["status"]["inhibitedBy"]}) for one in shown
    ]
    mine = [alert for alert in living.newest() if not alert.resolution]
    assert told == [(alert.seq, living.silencing(alert), living.inhibiting(alert)) for alert in mine]
    assert [one["status"]["state"] for one in shown] == ["suppressed" if living.held_back(alert) else "active" for alert in mine]
    states = {one["id"]: one["status"]["state"] for one in living.ask("GET", "/alertmanager/api/v2/silences")}
    assert states == {key: "active" if living.time < ends_at else "expired" for key, (_, ends_at) in living.silences.items()}


def the_entries(living: Living) -> None:
    taken: list[str] = []
    for shown in living.entries_shown():
        done, members = living.entries.get(shown["id"], Done()), living.members(shown["id"])
        taken += [event["event_id"] for event in shown["events"]]
        told = [shown[name] is not None for name in ("viewed_at", "acknowledged_at", "acted_at", "root_cause_set_at", "dismissed_at")]
        assert told == [
            done.viewed,
            done.acknowledged or all(alert.acknowledged for alert in members),
            done.acted,
            done.caused,
            done.dismissed or all(alert.dismissed for alert in members),
        ]
    assert living.held.isdisjoint(taken)
    assert len(taken) == len(set(taken))
    at_once = {label for config in SHIPPED if config.min_events == 1 for label in config.labels}
    detections = living.ask("GET", "/api/v1/detections?since=2026-01-01")
    labelled = {one for one, seq in living.detections.items() if KINDS[living.alerts[seq - 1].sort.kind].entries_label}
    assert {one["event_id"] for one in detections} == labelled
    due = {one["event_id"] for one in detections if one["label_name"] in at_once}
    assert due - living.held <= set(taken)


CHECKS = [
    the_book,
    the_history,
    the_stream,
    the_local_feed,
    the_rules_feed,
    the_account_feed,
    the_alertmanager,
    the_entries,
    the_org_feed,
]
