"""The arguments of the commands on alerts and silences."""

from tollwatch.arguments import Add, Group, positive

_SEVERITIES = ("low", "medium", "high", "critical")
_STATUSES = ("open", "acknowledged", "resolved")
"""Those of alerting, which is not imported for the help."""


def alert_arguments(alerts: Group, add: Add) -> None:
    """Add the commands on alerts to their group."""
    listed = add(alerts, "ls", "alerts:ls", "list alerts, newest first", reads=True)
    listed.add_argument("--kind", action="append", help="only this kind; may be given again")
    listed.add_argument("--all", action="store_true", help="resolved and dismissed ones too")
    listed.add_argument("--limit", type=positive, default=50)
    for name, text in (
        ("show", "show one alert, what holds it back and its history"),
        ("ack", "acknowledge an alert"),
        ("act", "note what was done about an alert, and acknowledge it"),
        ("resolve", "resolve an alert"),
        ("dismiss", "resolve an alert and mute its recurrence"),
    ):
        one = add(alerts, name, f"alerts:{name}", text, reads=name == "show")
        one.add_argument("id", help="alert_12, or its UUID")
        if name == "resolve":
            one.add_argument("--note", default=None)
        if name == "act":
            one.add_argument("text", help="what was done")
    exported = add(alerts, "export", "alerts_export:export", "print alerts, newest first, for other programs and spreadsheets")
    exported.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="a JSON object a line (jsonl), or a table")
    exported.add_argument("--kind", action="append", help="only this kind; may be given again")
    exported.add_argument("--severity", choices=_SEVERITIES)
    exported.add_argument("--status", choices=_STATUSES)
    exported.add_argument("--since", metavar="WHEN", help="those that began then or later: a span back from now (24h) or a time")
    exported.add_argument("--until", metavar="WHEN", help="those that began before")


def entry_arguments(entries: Group, add: Add) -> None:
    """Add the commands on entries to their group."""
    listed = add(entries, "ls", "entries:ls", "list entries, newest first", reads=True)
    listed.add_argument("--limit", type=positive, default=50)
    add(entries, "show", "entries:show", "show one entry and its events", reads=True).add_argument("id", help="its UUID")


def silence_arguments(silences: Group, add: Add) -> None:
    """Add the commands on silences to their group."""
    listed = add(silences, "ls", "silences:ls", "list silences, the active first", reads=True)
    listed.add_argument("--all", action="store_true", help="those that are over too")
    made = add(silences, "add", "silences:add", "make a silence and print its id", reads=True)
    made.add_argument(
        "matcher", nargs="+", help="kind=rate_limit_hit, user!=ann, 'model=~gpt-4.*' or 'agent!~ci-.*'; all must match (docs/alerts.md)"
    )
    made.add_argument("--comment", required=True, help="why")
    ends = made.add_mutually_exclusive_group()
    ends.add_argument("--for", dest="span", metavar="SPAN", default="1h", help="how long: 30m, 8h, 2d (1h)")
    ends.add_argument("--until", metavar="WHEN", help="when it ends: 2026-01-31T22:00, in local time unless it has a zone")
    made.add_argument("--from", dest="start", metavar="WHEN", help="when it begins (now)")
    made.add_argument("--author", help="who answers for it (you)")
    add(silences, "expire", "silences:expire", "end silences now").add_argument("id", nargs="+")


def channel_arguments(channels: Group, add: Add) -> None:
    """Add the commands on channels to their group."""
    add(channels, "ls", "channels:ls", "list the channels, and how the last message of each went", reads=True)
    tried = add(channels, "test", "channels:test", "really send something that is about no alert; ends with 1 when it fails", reads=True)
    tried.add_argument("name", help="dashboard, email, or webhook: and an id or its beginning")
