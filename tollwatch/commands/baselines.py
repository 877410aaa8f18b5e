"""`baselines ls|diff|approve`."""

import asyncio
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass

from alerting.alert import Alert
from alerting.approval import Named, drifts, found, nearest, told
from alerting.baselines import Baseline, Baselines, Part
from alerting.book import AlertBook
from alerting.shapes import Difference, LineChange, difference
from storage.database import StoreError
from tollwatch.commands.writing import write
from tollwatch.config import load_config
from tollwatch.exits import CommandError, Exit
from tollwatch.output import counted, json_lines, json_value, line, note, printable, table
from tollwatch.store import beside, now

_SHOWN = 12
_MINUTES = "%Y-%m-%d %H:%M"


def ls(arguments: Namespace) -> int:
    """List what was seen: the system prompts and tool definitions of each service and agent, and which of them are normal."""
    listed = [one for one in _compared(arguments, None).all if not arguments.waiting or one.approved_at is None]
    if arguments.json:
        json_lines(one.as_json() for one in listed)
        return Exit.OK
    table(
        ["STATE", "SERVICE", "AGENT", "WHAT", "FINGERPRINT", "CHARS", "FIRST SEEN", "APPROVED BY"],
        [
            [
                _state(one),
                one.service,
                one.agent,
                f"tool {one.name}" if one.part is Part.TOOL else "prompt",
                one.fingerprint[:_SHOWN],
                one.shape and one.shape.chars,
                one.first_seen_at.astimezone().strftime(_MINUTES),
                one.approved_by,
            ]
            for one in listed
        ],
        right=frozenset({"CHARS"}),
        styles={"waits": "medium"},
    )
    return Exit.OK


def diff(arguments: Namespace) -> int:
    """Say how one departs from what is normal, as far as is known: the texts are not kept."""
    compared = _compared(arguments, _named(arguments, arguments.fingerprint))
    one, other = compared.one, compared.other
    apart = difference(other.shape, one.shape) if other and other.shape and one.shape else None
    if arguments.json:
        json_value(_as_json(compared, apart))
        return Exit.OK
    if other is None:
        line(printable(f"nothing of {told(one)} is approved yet"))
    else:
        line(f"before  {_line(other)}")
    line(f"after   {_line(one)}")
    line(f"        {_drifted(compared.alerts)}")
    for sentence in _sentences(apart, compared):
        line(sentence)
    note("The texts themselves are not kept: sizes and keyed fingerprints of lines are all that is known.")
    return Exit.OK


def approve(arguments: Namespace) -> int:
    """Make one normal; its drift alert ends."""
    named = _named(arguments, arguments.fingerprint)
    made = write(arguments, "baselines.approve", digits=named.digits, service=named.service, agent=named.agent, tool=named.tool)
    what = f"the definition of {made['tool']}" if made["tool"] else "the prompt"
    who = f"{made['service']}, agent {made['agent']}" if made["agent"] else made["service"]
    note(printable(f"{what} {made['fingerprint'][:_SHOWN]} is normal for {who}"))
    return Exit.OK


@dataclass(frozen=True, slots=True)
class _Compared:
    all: Sequence[Baseline]
    named: Baseline | None = None
    other: Baseline | None = None
    alerts: Sequence[Alert] = ()

    @property
    def one(self) -> Baseline:
        if self.named is None:
            raise LookupError("nothing was named")
        return self.named


def _named(arguments: Namespace, digits: str) -> Named:
    return Named(digits=digits, service=arguments.service, agent=arguments.agent, tool=arguments.tool)


def _compared(arguments: Namespace, named: Named | None) -> _Compared:
    config = load_config(arguments.config)

    async def asked() -> _Compared:
        with beside(config.database_path) as database:
            everything = await Baselines(database, now=now).all()
            if named is None:
                return _Compared(everything)
            one = found(everything, named)
            other = found(everything, _named(arguments, arguments.other)) if arguments.other else nearest(everything, one)
            book = AlertBook(database, org_id="", settings=config.alerting, now=now)
            return _Compared(everything, one, other, await drifts(book, one))

    try:
        return asyncio.run(asked())
    except (StoreError, ValueError) as error:
        raise CommandError(str(error)) from error


def _state(one: Baseline) -> str:
    return "normal" if one.approved_at else "waits"


def _line(one: Baseline) -> str:
    size = f"{counted(one.shape.chars, 'character')} in {counted(one.shape.lines, 'line')}" if one.shape else "size not known"
    since = f"seen since {one.first_seen_at.astimezone().strftime(_MINUTES)}"
    approved = f", normal by {one.approved_by}" if one.approved_at else ", waits for approval"
    return printable(f"{one.fingerprint[:_SHOWN]}  {told(one)}: {size}, {since}{approved}")


def _drifted(alerts: Sequence[Alert]) -> str:
    if not alerts:
        return "no alert was raised on it"
    calls = sum(alert.occurrence_count for alert in alerts)
    return f"{counted(calls, 'call')} came with it and raised {alerts[0].local_id} ({alerts[0].status.value})"


def _sentences(apart: Difference | None, compared: _Compared) -> list[str]:
    if compared.other is None:
        return []
    if apart is None:
        return ["How they differ is not known: one of them was seen before lines were counted."]
    return [
        "They differ in numbers, ids, dates and blanks alone." if apart.same_template else "They differ in words, not only in numbers.",
        f"{counted(apart.same_lines, 'line')} are in both.",
        *(_change(one) for one in apart.changes),
        *([] if apart.complete else ["Lines beyond the 300th are not compared."]),
    ]


def _change(one: LineChange) -> str:
    if not one.before:
        return f"{_lines(one.after)} added"
    if not one.after:
        return f"{_lines(one.before)} taken out"
    if one.before == one.after:
        return f"{_lines(one.before)} changed"
    return f"{_lines(one.before)} changed into {_lines(one.after)}"


def _lines(numbers: range) -> str:
    return f"line {numbers[0]}" if len(numbers) == 1 else f"lines {numbers[0]}-{numbers[-1]}"


def _as_json(compared: _Compared, apart: Difference | None) -> dict[str, object]:
    return {
        "before": compared.other and compared.other.as_json(),
        "after": compared.one.as_json(),
        "calls": sum(alert.occurrence_count for alert in compared.alerts),
        "alerts": [alert.local_id for alert in compared.alerts],
        "difference": apart
        and {
            "same_template": apart.same_template,
            "same_lines": apart.same_lines,
            "changes": [
                {"before": list(one.before[:: max(1, len(one.before) - 1)]), "after": list(one.after[:: max(1, len(one.after) - 1)])}
                for one in apart.changes
            ],
            "complete": apart.complete,
        },
    }
