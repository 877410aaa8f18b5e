"""What a person says about prompts and tools that were seen."""

from typing import Any

import pytest

from alerting.approval import Named, approve, drifts, found, nearest, told
from alerting.baselines import Baseline, Part
from alerting.finding import AlertKind

ON = {"prompt_drift": {}, "tool_drift": {"enabled": True}}


async def waiting(world: Any) -> Baseline:
    return next(one for one in await world.baselines.all() if one.approved_at is None)


async def test_an_approved_prompt_passes_and_its_alert_and_its_mute_end(worlds: Any, a_call: Any) -> None:
    world = worlds(detectors={"prompt_drift": {"action": "block"}})
    for text in ("first", "second"):
        await world.gate.admit(a_call(system=text))
    (alert,) = await world.alerts()
    await world.book.dismiss(alert.seq, actor="ann", feed="local")

    one = await approve(world.baselines, world.book, Named(digits=(await waiting(world)).fingerprint[:4]), actor="ann")

    assert (one.approved_by, one.shape.chars) == ("ann", 6)
    assert not (await world.gate.admit(a_call(system="second"))).blocked
    assert await world.database.read("SELECT * FROM alert_mutes") == []
    audit = await world.database.read("SELECT actor, action, subject, detail FROM audit")
    assert audit == [("ann", "prompt.approved", "openai/-", one.fingerprint)]


async def test_approving_again_changes_nothing(worlds: Any, a_call: Any) -> None:
    world = worlds(detectors={"prompt_drift": {}})
    await world.gate.admit(a_call(system="first"))
    (one,) = await world.baselines.all()

    assert await approve(world.baselines, world.book, Named(digits=one.fingerprint), actor="ann") == one
    assert await world.database.read("SELECT * FROM audit") == []


async def test_where_findings_are_not_merged_all_alerts_on_a_prompt_end(worlds: Any, a_call: Any, clock: Any) -> None:
    world = worlds(detectors={"prompt_drift": {}}, alerting={"dedup": "none"})
    for text in ("first", "second", "second", "third"):
        await world.gate.admit(a_call(system=text))
        clock.pass_by(seconds=1)
    await world.settled()
    second = (await world.baselines.all())[1]

    assert len(await drifts(world.book, second)) == 2
    await approve(world.baselines, world.book, Named(digits=second.fingerprint), actor="ann")

    open_ones = await world.book.list(kinds=[AlertKind.PROMPT_DRIFT], dismissed=False)
    assert [one.evidence[0]["fingerprint"] for one in open_ones] == [(await world.baselines.all())[2].fingerprint]


def test_a_fingerprint_is_named_by_its_first_digits_and_its_place(clock: Any) -> None:
    def one(fingerprint: str, *, agent: str | None = None, tool: str | None = None, approved: bool = False) -> Baseline:
        return Baseline(
            part=Part.TOOL if tool else Part.PROMPT,
            service="openai",
            agent=agent,
            name=tool or "",
            fingerprint=fingerprint,
            first_seen_at=clock(),
            approved_at=clock() if approved else None,
            approved_by=None,
        )

    normal, other, bot, tool = one("aaaa1", approved=True), one("aaab2"), one("aaab2", agent="bot"), one("cccc3", tool="search")
    everything = [normal, other, bot, tool]

    assert found(everything, Named(digits="aaaa")) is normal
    assert found(everything, Named(digits="aaab", agent="bot")) is bot
    assert found(everything, Named(digits="aaab", agent="-")) is other
    assert found(everything, Named(digits="cccc", service="openai", tool="search")) is tool
    for digits, message in (
        ("aaa", "too short: give the first 4 digits"),
        (
            "aaab",
            "names 2 fingerprints: give --service, --agent or --tool, or more digits .the prompt of openai; the prompt of openai, agent",
        ),
        ("dddd", "names no fingerprint that was seen there; `tollwatch baselines ls`"),
    ):
        with pytest.raises(ValueError, match=message):
            found(everything, Named(digits=digits))
    with pytest.raises(ValueError, match="names no fingerprint"):
        found(everything, Named(digits="cccc", tool="other"))
    assert [nearest(everything, each) for each in everything] == [None, normal, None, None]
    assert [told(each) for each in (bot, tool)] == ["the prompt of openai, agent bot", "the tool search of openai"]


async def test_what_is_known_of_a_prompt_and_a_tool_is_kept_with_them(worlds: Any, a_call: Any) -> None:
    world = worlds(detectors=ON)
    call = a_call(system="You are kind.\nAlways.")
    await world.gate.admit(call)
    (prompt,) = await world.baselines.all()

    assert (prompt.shape.chars, prompt.shape.lines, prompt.part) == (21, 2, Part.PROMPT)
    told_json = prompt.as_json()
    assert (told_json["chars"], told_json["lines"], told_json["tool"], told_json["approved_by"]) == (21, 2, None, "first prompt seen")
