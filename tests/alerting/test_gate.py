"""The four refusals in both modes, what is recorded of them, and what settling shows."""

import asyncio
from typing import Any

import pytest

from alerting.finding import Action, AlertKind, Refusal, Taken
from alerting.prompt_checks import Detectors
from metering.call import Consumption, Ending
from metering.reading import Source
from storage.database import StoreError

BLOCK_GPT4 = {"id": "SEC-1", "title": "No GPT-4", "match": {"model": "gpt-4*"}, "action": "block", "severity": "high"}

REFUSALS = {
    "policy": ({"rules": [BLOCK_GPT4]}, Refusal.POLICY, AlertKind.POLICY_VIOLATION, 403, Taken.BLOCKED),
    "prompt size": (
        {"detectors": {"prompt_size": {"max_tokens": 5, "action": "block"}, "prompt_drift": {"enabled": False}}},
        Refusal.PROMPT_SIZE,
        AlertKind.PROMPT_SIZE,
        403,
        Taken.BLOCKED,
    ),
    "budget": (
        {"budgets": [{"name": "tiny", "limit": "10 tokens"}]},
        Refusal.BUDGET,
        AlertKind.BUDGET_EXCEEDED,
        402,
        Taken.BLOCKED,
    ),
    "rate limit": (
        {"detectors": {"rate_limits": [{"tokens": 50, "name": "few"}], "prompt_drift": {"enabled": False}}},
        Refusal.RATE_LIMIT,
        AlertKind.RATE_LIMIT_HIT,
        429,
        Taken.THROTTLED,
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_enforce_refuses_and_has_the_row_and_the_alert_durable_when_it_answers(worlds: Any, a_call: Any, name: Any) -> None:
    config, refusal, kind, status, taken = REFUSALS[name]
    world = worlds(**config)
    call = a_call()

    verdict = await world.gate.admit(call)

    assert (verdict.blocked, verdict.refusal) == (True, refusal)
    [(state, verdict_text, stored_status)] = await world.database.read("SELECT state, verdict, status FROM calls")
    assert (state, verdict_text, stored_status) == ("refused", "block", status)
    [alert] = await world.book.list(limit=10)
    assert (alert.kind, alert.action, alert.occurrence_count) == (kind, taken, 1)
    assert alert.message in verdict.message
    assert await world.database.read("SELECT call_id FROM detections") == [(call.id,)]


@pytest.mark.parametrize("name", REFUSALS)
async def test_monitor_lets_pass_and_says_what_enforce_would_have_done(worlds: Any, a_call: Any, name: Any) -> None:
    config, _refusal, kind, _status, _taken = REFUSALS[name]
    world = worlds(mode="monitor", **config)
    call = a_call()

    verdict = await world.gate.admit(call)

    assert (verdict.action, verdict.refusal) == (Action.ALERT, None)
    assert [row[0] for row in await world.database.read("SELECT state FROM calls")] == ["intent"]
    [alert] = await world.alerts(kind)
    assert alert.action is Taken.OBSERVED
    assert "would have been refused" in alert.message
    assert alert.local_type != "high_severity_denied_action"
    world.answer(call)
    await world.settled()
    assert [row[0] for row in await world.database.read("SELECT state FROM calls")] == ["settled"]


async def test_a_call_that_nothing_is_about_passes_without_an_alert(worlds: Any, a_call: Any) -> None:
    world = worlds()

    verdict = await world.gate.admit(a_call())

    assert (verdict.action, verdict.findings, verdict.message) == (Action.ALLOW, (), "")
    assert await world.alerts() == []


async def test_fifty_calls_at_once_never_hold_more_than_a_hard_budget(worlds: Any, a_call: Any) -> None:
    world = worlds(budgets=[{"name": "dollar", "limit": "0.02 USD"}])
    calls = [a_call() for _ in range(50)]

    verdicts = await asyncio.gather(*map(world.gate.admit, calls))

    granted = [call for call, verdict in zip(calls, verdicts, strict=True) if not verdict.blocked]
    assert 0 < len(granted) < 50
    history = await world.database.read('SELECT spent, held, "limit" FROM budget_history')
    assert history
    assert all(spent + held <= limit for spent, held, limit in history)
    for call in granted:
        world.answer(call)
    await world.settled()
    assert await world.database.read("SELECT SUM(held) FROM budget_periods") == [(0,)]
    [alert] = await world.alerts(AlertKind.BUDGET_EXCEEDED)
    assert alert.occurrence_count == 50 - len(granted)


async def test_a_hold_that_fits_only_by_the_exact_count_is_granted(worlds: Any, a_call: Any) -> None:
    text = "hello " * 200  # 1,200 bytes, some 200 tokens
    world = worlds(budgets=[{"name": "tokens", "limit": "700 tokens"}])

    verdict = await world.gate.admit(a_call(text=text))

    assert not verdict.blocked
    [(held,)] = await world.database.read("SELECT held FROM budget_periods")
    assert 200 < held < 400


async def test_monitor_does_not_report_a_budget_that_only_the_bound_exceeds(worlds: Any, a_call: Any) -> None:
    world = worlds(mode="monitor", budgets=[{"name": "tokens", "limit": "700 tokens"}])

    verdict = await world.gate.admit(a_call(text="hello " * 200))

    assert verdict.action is Action.ALLOW


async def test_a_budget_refusal_names_what_is_spent_held_needed_and_when_it_ends(worlds: Any, a_call: Any) -> None:
    world = worlds(budgets=[{"name": "tiny", "limit": "10 tokens"}])

    verdict = await world.gate.admit(a_call())

    for part in ("'tiny'", "10 tokens", "0 tokens spent", "held", "may need", "2026-03-11T00:00:00Z", "raise the budget"):
        assert part in verdict.message
    assert verdict.rule_id == "tiny"


async def test_an_alert_budget_is_held_but_never_refuses(worlds: Any, a_call: Any) -> None:
    world = worlds(budgets=[{"name": "soft", "limit": "120 tokens", "on_exceed": "alert", "warn_at": [0.5]}])
    call = a_call()

    verdict = await world.gate.admit(call)
    world.answer(call, input_tokens=100, output_tokens=100)

    assert verdict.action is Action.ALLOW
    assert [alert.kind for alert in await world.alerts()] == [AlertKind.BUDGET_EXCEEDED, AlertKind.BUDGET_WARNING]


async def test_each_threshold_of_a_budget_is_told_once(worlds: Any, a_call: Any) -> None:
    world = worlds(budgets=[{"name": "b", "limit": "1000 tokens", "on_exceed": "alert", "warn_at": [0.5, 0.8]}])
    calls = [a_call(max_output_tokens=1) for _ in range(20)]
    await asyncio.gather(*map(world.gate.admit, calls))

    for call in calls:
        world.answer(call, input_tokens=60, output_tokens=0)

    alerts = await world.alerts()
    assert [(alert.title, alert.occurrence_count) for alert in reversed(alerts)] == [
        ("Budget b at 50%", 1),
        ("Budget b at 80%", 1),
        ("Budget b exceeded", 1),
    ]
    assert {alert.expires_at for alert in alerts} == {world.clock().replace(day=11, hour=0)}


async def test_a_threshold_is_reached_at_exactly_its_share(worlds: Any, a_call: Any) -> None:
    world = worlds(budgets=[{"name": "b", "limit": "100 tokens", "on_exceed": "alert", "warn_at": [0.55]}])
    call = a_call()
    await world.gate.admit(call)

    world.answer(call, input_tokens=50, output_tokens=5)

    assert [alert.title for alert in await world.alerts()] == ["Budget b at 55%"]


async def test_an_alert_rule_and_a_later_refusal_are_both_told(worlds: Any, a_call: Any) -> None:
    config = {"rules": [{**BLOCK_GPT4, "action": "alert"}], "budgets": [{"name": "tiny", "limit": "10 tokens"}]}
    world = worlds(**config)

    verdict = await world.gate.admit(a_call())

    assert [finding.kind for finding in verdict.findings] == [AlertKind.POLICY_VIOLATION, AlertKind.BUDGET_EXCEEDED]
    assert {alert.action for alert in await world.alerts()} == {Taken.ALERTED, Taken.BLOCKED}


async def test_a_refused_call_gives_its_place_in_a_rate_limit_back(worlds: Any, a_call: Any) -> None:
    world = worlds(
        budgets=[{"name": "tiny", "limit": "110 tokens"}],
        detectors={"rate_limits": [{"requests": 1}], "prompt_drift": {"enabled": False}},
    )
    assert (await world.gate.admit(a_call(text="word " * 500))).refusal is Refusal.BUDGET

    verdict = await world.gate.admit(a_call(max_output_tokens=10))

    assert not verdict.blocked


async def test_an_allow_rule_does_not_lift_a_budget(worlds: Any, a_call: Any) -> None:
    world = worlds(
        rules=[{"id": "ok", "title": "All", "match": {}, "action": "allow", "priority": 9}, BLOCK_GPT4],
        budgets=[{"name": "tiny", "limit": "10 tokens"}],
    )

    verdict = await world.gate.admit(a_call())

    assert verdict.refusal is Refusal.BUDGET


async def test_a_rule_about_size_counts_exactly_before_it_decides(worlds: Any, a_call: Any) -> None:
    rule = {"id": "big", "title": "Big", "match": {"min_input_tokens": 500}, "action": "block"}
    world = worlds(rules=[rule])

    small, large = await world.gate.admit(a_call(text="hello " * 200)), await world.gate.admit(a_call(text="hello " * 600))

    assert (small.blocked, large.blocked) == (False, True)
    assert "at least 500" in large.message
    assert large.findings[0].evidence["token_count"] in range(600, 700)
    assert large.findings[0].evidence["provider"] == "openai"


async def test_a_rule_that_needs_no_count_tells_none(worlds: Any, a_call: Any) -> None:
    world = worlds(rules=[{"id": "all", "title": "All", "match": {}, "action": "block"}])

    verdict = await world.gate.admit(a_call())

    assert "token_count" not in verdict.findings[0].evidence


async def test_prompt_size_counts_exactly_before_it_decides(worlds: Any, a_call: Any) -> None:
    world = worlds(detectors={"prompt_size": {"max_tokens": 500}, "prompt_drift": {"enabled": False}})

    small, large = await world.gate.admit(a_call(text="hello " * 200)), await world.gate.admit(a_call(text="hello " * 600))

    assert (small.action, large.action) == (Action.ALLOW, Action.ALERT)


@pytest.mark.parametrize(
    ("mode", "unknown_formats", "blocked", "taken"),
    [
        ("enforce", "refuse", True, Taken.BLOCKED),
        ("monitor", "refuse", False, Taken.OBSERVED),
        ("enforce", "pass", False, Taken.ALERTED),
    ],
)
async def test_a_format_that_is_not_read_is_never_silent(
    worlds: Any, a_call: Any, mode: Any, unknown_formats: Any, blocked: Any, taken: Any
) -> None:
    world = worlds(mode=mode, unknown_formats=unknown_formats)
    call = a_call(consumption=Consumption.UNREAD, wire_format=None)

    verdict = await world.gate.admit(call)
    if unknown_formats == "pass":
        world.gate.settle(call, world.reply(), None)

    assert verdict.blocked is blocked
    assert verdict.refusal is (Refusal.UNKNOWN_FORMAT if blocked else None)
    [alert] = await world.alerts(AlertKind.METER_GAP)
    assert alert.action is taken


@pytest.mark.parametrize(
    ("facts", "expected"),
    [({"input_tokens": None}, 1), ({"input_tokens": 10}, 0), ({"input_tokens": None, "error": "overloaded"}, 0)],
)
async def test_an_answer_without_usage_raises_a_meter_gap(worlds: Any, a_call: Any, facts: Any, expected: Any) -> None:
    world = worlds()
    call = a_call()
    await world.gate.admit(call)

    world.answer(call, **facts)

    alerts = await world.alerts(AlertKind.METER_GAP)
    assert len([alert for alert in alerts if alert.title == "Unmetered traffic to openai"]) == expected


async def test_an_answer_whose_copy_failed_raises_a_meter_gap(worlds: Any, a_call: Any) -> None:
    world = worlds()
    call = a_call()
    await world.gate.admit(call)

    world.gate.settle(call, world.reply(), None)

    uncertain, unread = await world.alerts(AlertKind.METER_GAP)
    assert "could not be read" in unread.message
    assert uncertain.title == "Cost of openai is uncertain"


@pytest.mark.parametrize(("status", "ending"), [(500, Ending.COMPLETED), (None, Ending.UPSTREAM_UNREACHABLE)])
async def test_an_answer_that_failed_is_no_meter_gap(worlds: Any, a_call: Any, status: Any, ending: Any) -> None:
    world = worlds()
    call = a_call()
    await world.gate.admit(call)

    world.gate.settle(call, world.reply(status=status, ending=ending), None)

    assert await world.alerts() == []


async def test_a_model_without_a_price_is_told_once(worlds: Any, a_call: Any) -> None:
    world = worlds()
    for _ in range(3):
        call = a_call(model="nobody-knows-1")
        await world.gate.admit(call)
        assert world.answer(call).source is Source.UNPRICED

    [alert] = await world.alerts(AlertKind.UNPRICED_MODEL)
    assert alert.occurrence_count == 3
    assert "'nobody-knows-1'" in alert.message


async def test_a_second_settlement_and_one_without_admission_change_nothing(worlds: Any, a_call: Any) -> None:
    world = worlds(budgets=[{"name": "b", "limit": "1000 tokens"}])
    call, stranger = a_call(), a_call(model="nobody-knows-1")
    await world.gate.admit(call)
    world.answer(call)
    await world.settled()
    before = await world.database.read("SELECT * FROM calls"), await world.database.read("SELECT * FROM budget_periods")

    world.answer(call, input_tokens=500)
    world.answer(stranger)
    await world.settled()

    assert before == (await world.database.read("SELECT * FROM calls"), await world.database.read("SELECT * FROM budget_periods"))
    assert await world.alerts() == []


@pytest.mark.parametrize("mode", ["enforce", "monitor"])
async def test_the_canary_is_always_refused_and_raises_no_alert(worlds: Any, a_call: Any, mode: Any) -> None:
    world = worlds(mode=mode, rules=[{"id": "ok", "title": "All", "match": {}, "action": "allow", "priority": 1000}])

    verdict = await world.gate.admit(a_call(host="canary.tollwatch.invalid", provider="tollwatch"))

    assert (verdict.blocked, verdict.refusal) == (True, Refusal.POLICY)
    assert await world.database.read("SELECT state, status FROM calls") == [("refused", 403)]
    assert await world.alerts() == []


@pytest.mark.parametrize(
    ("refusal", "status", "kind"),
    [
        (Refusal.UNREADABLE, 400, AlertKind.POLICY_VIOLATION),
        (Refusal.TOO_LARGE, 413, AlertKind.POLICY_VIOLATION),
        (Refusal.DEGRADED, 503, AlertKind.GATEWAY_DEGRADED),
    ],
)
async def test_what_the_proxy_refuses_is_recorded(worlds: Any, a_call: Any, refusal: Any, status: Any, kind: Any) -> None:
    world = worlds()

    verdict = await world.gate.refuse(a_call(), refusal=refusal, message="The body names 'model' twice.")

    assert (verdict.blocked, verdict.refusal, verdict.message) == (True, refusal, "The body names 'model' twice.")
    assert await world.database.read("SELECT state, status FROM calls") == [("refused", status)]
    assert [alert.kind for alert in await world.alerts()] == [kind]


async def test_what_the_proxy_would_refuse_passes_in_monitor_mode(worlds: Any, a_call: Any) -> None:
    world = worlds(mode="monitor")

    verdict = await world.gate.refuse(a_call(), refusal=Refusal.UNREADABLE, message="The body names 'model' twice.")

    assert not verdict.blocked
    assert [row[0] for row in await world.database.read("SELECT state FROM calls")] == ["intent"]
    [alert] = await world.alerts()
    assert alert.action is Taken.OBSERVED


async def test_a_store_that_fails_lets_no_call_pass_and_keeps_no_place(worlds: Any, a_call: Any) -> None:
    world = worlds(detectors={"rate_limits": [{"requests": 1}], "prompt_drift": {"enabled": False}})
    await world.database.close()

    with pytest.raises(StoreError):
        await world.gate.admit(a_call())
    with pytest.raises(StoreError):
        await world.gate.admit(a_call())

    worlds.made.clear()


async def test_a_degraded_part_is_one_alert_until_it_is_well_again(worlds: Any) -> None:
    world = worlds()
    for _ in range(3):
        world.gate.degraded("prices", "The price table is 90 days old.")
    [alert] = await world.alerts(AlertKind.GATEWAY_DEGRADED)

    world.gate.recovered("prices")
    world.gate.recovered("prices")
    await world.settled()

    assert alert.occurrence_count == 3
    ended = await world.book.get(alert.seq)
    assert ended is not None
    assert ended.resolution == "condition_cleared"


async def test_the_ledger_tells_the_gate_how_the_store_is(worlds: Any) -> None:
    world = worlds()

    world.gate.on_health(StoreError("disk full"))
    [alert] = await world.alerts(AlertKind.GATEWAY_DEGRADED)
    world.gate.on_health(None)
    await world.settled()

    assert "disk full" in alert.message
    assert (await world.book.counts()).open == 0


@pytest.mark.parametrize(("consumption", "blocked"), [(Consumption.FREE, False), (Consumption.UNREAD, True), (Consumption.METERED, True)])
async def test_a_spent_budget_refuses_what_may_cost_something(worlds: Any, a_call: Any, consumption: Any, blocked: Any) -> None:
    world = worlds(budgets=[{"name": "b", "limit": "1000 tokens"}])
    first = a_call()
    await world.gate.admit(first)
    world.answer(first, input_tokens=600, output_tokens=400)
    await world.settled()

    verdict = await world.gate.admit(a_call(consumption=consumption))

    assert verdict.blocked is blocked


async def test_monitor_tells_only_of_budgets_that_would_refuse(worlds: Any, a_call: Any) -> None:
    budgets = [{"name": "hard", "limit": "50 tokens"}, {"name": "soft", "limit": "50 tokens", "on_exceed": "alert"}]
    world = worlds(mode="monitor", budgets=budgets)

    verdict = await world.gate.admit(a_call())

    assert [finding.subject.budget_id for finding in verdict.findings] == ["hard"]
    assert await world.database.read("SELECT COUNT(*), MIN(held) > 50 FROM budget_periods") == [(2, 1)]


async def test_a_day_whose_cost_is_too_uncertain_is_told_once(worlds: Any, a_call: Any) -> None:
    world = worlds()
    for _ in range(2):
        call = a_call()
        await world.gate.admit(call)
        world.gate.settle(call, world.reply(ending=Ending.CLIENT_ABORT), None)
        await world.settled()

    [alert] = await world.alerts(AlertKind.METER_GAP)

    assert (alert.title, alert.occurrence_count) == ("Cost of openai is uncertain", 1)
    assert alert.message.endswith("100% of it is not certain.")


async def test_a_little_uncertainty_is_no_gap(worlds: Any, a_call: Any) -> None:
    world = worlds()
    for tokens in (100_000_000, None):
        call = a_call()
        await world.gate.admit(call)
        if tokens:
            world.answer(call, input_tokens=tokens)
        else:
            world.gate.settle(call, world.reply(ending=Ending.CLIENT_ABORT), None)
        await world.settled()

    assert await world.alerts(AlertKind.METER_GAP) == []


async def test_calls_that_a_crash_left_open_are_told(worlds: Any) -> None:
    world = worlds()
    world.gate.orphaned(0)
    world.gate.orphaned(3)

    [alert] = await world.alerts(AlertKind.METER_GAP)

    assert alert.message.startswith("3 calls were open")


async def test_a_gate_without_detectors_only_keeps_the_ledger(worlds: Any, a_call: Any) -> None:
    world = worlds()
    world.gate._prompts._detectors = Detectors()  # noqa: SLF001 - the config has no way to ask for none
    call = a_call(text="x" * 100_000)

    verdict = await world.gate.admit(call)

    assert verdict.action is Action.ALLOW
    assert world.gate.reader(call, content_type="application/json") is not None


async def test_a_cancelled_admission_is_closed_and_keeps_no_place(worlds: Any, a_call: Any) -> None:
    world = worlds(
        budgets=[{"name": "b", "limit": "1000 tokens"}], detectors={"rate_limits": [{"requests": 1}], "prompt_drift": {"enabled": False}}
    )
    admission = asyncio.ensure_future(world.gate.admit(a_call()))
    await asyncio.sleep(0)
    admission.cancel()
    with pytest.raises(asyncio.CancelledError):
        await admission

    verdict = await world.gate.admit(a_call())
    await world.settled()

    assert not verdict.blocked
    assert await world.database.read("SELECT COUNT(*) FROM calls WHERE state = 'intent'") == [(1,)]


async def test_a_text_in_the_place_of_a_name_is_not_kept_by_an_alert(worlds: Any, a_call: Any) -> None:
    text = "x" * 300 + "SECRET"
    detectors = {"rate_limits": [{"requests": 1, "by": "model", "action": "alert"}]}
    world = worlds(rules=[{**BLOCK_GPT4, "match": {"provider": "openai"}, "action": "alert"}], detectors=detectors)
    for system in ("a", "b"):
        call = a_call(model=text, path=text, system=system, caller={"user": text, "agent": text}, tools=(text,))
        await world.gate.admit(call)
    world.answer(call)
    world.gate.settle(call, world.reply(), None)

    alerts = await world.alerts()

    assert {alert.kind for alert in alerts} == {
        AlertKind.METER_GAP,
        AlertKind.POLICY_VIOLATION,
        AlertKind.PROMPT_DRIFT,
        AlertKind.RATE_LIMIT_HIT,
        AlertKind.UNPRICED_MODEL,
    }
    assert all("SECRET" not in repr(alert) for alert in alerts)
