"""The entries feed on the wire, as its published contract has it."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from alerting.alert import Status
from alerting.entry_settings import SHIPPED, EntryConfigSettings
from alerting.finding import AlertKind, Subject, Taken
from api.feeds.entry_configs import ConfigAnswer
from api.feeds.entry_json import DetectionAnswer, EntryAnswer

ENTRIES, CONFIGS, DETECTIONS = "/api/v1/alerts/entries", "/api/v1/alerts/configs", "/api/v1/detections"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00")
FREE = EntryConfigSettings(title="Free", time_window_seconds=60, allow_custom_action=True, allow_custom_root_cause=True)

ENTRY_FIELDS = re.split(
    r"\s+",
    "id config_id created_at updated_at title acted_at action_taken root_cause_set_at root_cause viewed_at acknowledged_at dismissed_at "
    "events",
)
CONFIG_FIELDS = re.split(
    r"\s+",
    "id created_at updated_at title preset_tags allow_custom_root_cause allow_custom_action ack_mechanisms silenced_until silenced_rois "
    "time_window_seconds min_events rois labels",
)
NO_MOMENTS = ("", "yesterday", "2025-13-01", "2025-01-15T25:00:00", "0000-00-00", "%00", "2025-01-15&since=2025-01-16")

type Ask = Callable[..., Awaitable[Any]]
type Find = Callable[..., Awaitable[None]]


@pytest.fixture
async def ask(gateway: Any) -> Ask:
    token = await gateway.token()

    async def send(method: str, path: str, **more: Any) -> Any:
        return await gateway.ask(method, path, token=token, **more)

    return send


@pytest.fixture
def find(gateway: Any, occur: Any) -> Find:
    async def make(agent: str = "bot", kind: AlertKind = AlertKind.PROMPT_DRIFT, **more: Any) -> None:
        found = occur(kind, subject=Subject(service="openai", agent=agent, endpoint="chat"), episode=(agent,), **more)
        await gateway.services.alerts.record([found])

    return make


@pytest.fixture
async def configs(gateway: Any) -> Any:
    await gateway.services.entries.configs.follow_file([FREE])
    return gateway.services.entries.configs


async def entry_of(ask: Ask) -> Any:
    return (await ask("GET", ENTRIES)).body[0]


@pytest.mark.usefixtures("configs")
async def test_an_entry_has_the_fields_of_the_contract_and_no_other(ask: Ask, find: Find) -> None:
    await find(taken=Taken.BLOCKED)

    answer = await ask("GET", ENTRIES)

    [entry] = answer.body
    assert answer.headers["X-Alert-Feed"] == "entries"
    assert "Link" not in answer.headers
    EntryAnswer.model_validate(entry)
    assert list(entry) == ENTRY_FIELDS
    assert all(MOMENT.fullmatch(entry[name]) for name in ("created_at", "updated_at"))
    assert {type(entry[name]) for name in ("acted_at", "action_taken", "root_cause", "viewed_at", "acknowledged_at")} == {type(None)}
    assert entry["events"] == [
        {
            "event_id": entry["events"][0]["event_id"],
            "line_name": "test",
            "roi_name": "openai/bot/chat",
            "roi_title": "bot: chat of openai",
            "roi_api_name": "openai_bot_chat",
            "label_name": "prompt_drift",
            "label_title": "Prompt drift",
            "detected_at": "2025-01-15T10:30:00+00:00",
            "updated_at": entry["events"][0]["updated_at"],
            "duration_seconds": 0.0,
            "downtime_seconds": 0.0,
        }
    ]
    assert (await ask("GET", f"{ENTRIES}/{entry['id']}")).body == entry


async def test_a_config_has_the_fields_of_the_contract_and_no_other(gateway: Any, ask: Ask, find: Find) -> None:
    await gateway.services.entries.configs.follow_file(SHIPPED)
    await find()
    await ask("GET", ENTRIES)

    answer = await ask("GET", CONFIGS)

    assert [config["title"] for config in answer.body] == ["Security", "Spend", "Traffic anomalies"]
    for config in answer.body:
        ConfigAnswer.model_validate(config)
        assert list(config) == CONFIG_FIELDS
        assert config["rois"] == [{"name": "openai/bot/chat", "title": "bot: chat of openai", "api_name": "openai_bot_chat"}]
        assert all(list(label) == ["name", "title"] for label in config["labels"])
        assert all(list(tag) == ["tag_category", "text"] for tag in config["preset_tags"])


# --- since ----------------------------------------------------------------------------------------------------------------


SINCE = {
    "": 1,
    "?since=2025-01-15": 1,
    "?since=2025-01-15T10:29:59": 1,
    "?since=2025-01-15T10:29:59Z": 1,
    "?since=2025-01-15T10:30:00.5Z": 0,
    "?since=2025-01-15T11:29:59%2B01:00": 1,
    "?since=2025-01-15T11:29:59+01:00": 1,  # a `+` that was not encoded comes as a space
    "?since=2025-01-15T05:31:00-05:00": 0,
    "?since=2025-01-16": 0,
    "?since=2025-01-15T10:29:59.999999": 1,
}


@pytest.mark.usefixtures("configs")
async def test_since_is_read_in_every_form_and_is_strict(ask: Ask, find: Find) -> None:
    await find()

    answers = {since: await ask("GET", ENTRIES + since) for since in SINCE}

    assert {since: (answer.status, len(answer.body)) for since, answer in answers.items()} == {one: (200, SINCE[one]) for one in SINCE}


async def test_an_invalid_since_is_400(ask: Ask) -> None:
    for path in (ENTRIES, DETECTIONS):
        for since in NO_MOMENTS:
            answer = await ask("GET", f"{path}?since={since}")
            assert answer.status == 400, since
            assert answer.body["error"].startswith("invalid since: ")


@pytest.mark.usefixtures("configs")
async def test_without_since_the_last_ten_days_come(gateway: Any, ask: Ask, find: Find) -> None:
    await find("old")
    await ask("GET", ENTRIES)
    gateway.clock.advance(days=10, seconds=1)
    await find("new")

    entries, detections = await ask("GET", ENTRIES), await ask("GET", DETECTIONS)

    assert [one["events"][0]["roi_name"] for one in entries.body] == ["openai/new/chat"]
    assert [one["roi_name"] for one in detections.body] == ["openai/new/chat"]


@pytest.mark.usefixtures("configs")
async def test_whoever_sends_back_the_last_created_at_gets_each_entry_once(gateway: Any, ask: Ask, find: Find) -> None:
    polled: list[str] = []
    ended = asyncio.Event()

    async def happen(agent: str) -> None:
        for number in range(12):
            await find(f"{agent}-{number}")

    async def poll() -> None:
        since = "2025-01-01"
        last = False
        while True:
            answer = await ask("GET", f"{ENTRIES}?since={quote(since)}")
            polled.extend(one["id"] for one in answer.body)
            since = answer.body[-1]["created_at"] if answer.body else since
            if last:
                return
            last = ended.is_set() and not answer.body
            await asyncio.sleep(0)

    async def all_of_it() -> None:
        await asyncio.gather(*(happen(agent) for agent in "abcd"))
        ended.set()

    await asyncio.gather(all_of_it(), poll(), gateway.services.entries.follow())

    every = [one["id"] for one in (await ask("GET", f"{ENTRIES}?since=2025-01-01")).body]
    assert len(every) == 48
    assert polled == every


@pytest.mark.usefixtures("configs")
async def test_a_long_answer_says_where_the_next_is(ask: Ask, find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alerting.entry_reading.PAGE", 3)
    for number in range(7):
        await find(f"agent-{number}")

    for path in (ENTRIES, DETECTIONS, f"{DETECTIONS}?updated_at=2025-01-01"):
        sizes, ids, following = [], [], path
        while following:
            answer = await ask("GET", following)
            sizes.append(len(answer.body))
            ids += [one.get("event_id") or one["id"] for one in answer.body]
            link = answer.headers.get("Link", "")
            following = link.removeprefix("<").removesuffix('>; rel="next"')
        assert len(set(ids)) == len(ids) == 7
        assert path == DETECTIONS or sizes == [3, 3, 1]


@pytest.mark.usefixtures("configs")
async def test_an_answer_is_not_longer_than_it_can_be_read(gateway: Any, ask: Ask, find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alerting.entry_reading.MOST_EVENTS", 4)
    monkeypatch.setattr("alerting.entry_reading._MOST_EVENTS_OF_A_PAGE", 5)
    for agent in ("a", "b"):
        for _ in range(6):
            gateway.clock.advance(seconds=1)
            await find(agent)

    first = await ask("GET", ENTRIES)
    second = await ask("GET", first.headers["Link"].partition(">")[0].removeprefix("<"))

    assert [len(one["events"]) for one in first.body + second.body] == [4, 4]
    every = [one["event_id"] for one in (await ask("GET", DETECTIONS)).body]
    assert [event["event_id"] for event in first.body[0]["events"]] == every[2:6]


# --- detections -----------------------------------------------------------------------------------------------------------


async def test_detections_that_changed_come_again_by_updated_at(gateway: Any, ask: Ask, find: Find) -> None:
    await find(kind=AlertKind.RATE_LIMIT_HIT, taken=Taken.BLOCKED, retry_after=timedelta(seconds=30))
    [first] = (await ask("GET", DETECTIONS)).body
    gateway.clock.advance(minutes=1)

    [again] = (await ask("GET", f"{DETECTIONS}?updated_at={quote(first['updated_at'])}")).body

    DetectionAnswer.model_validate(again)
    assert (first["downtime_seconds"], again["downtime_seconds"], again["event_id"]) == (0.0, 30.0, first["event_id"])
    assert (await ask("GET", f"{DETECTIONS}?updated_at={quote(again['updated_at'])}")).body == []


# --- answers --------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("configs")
async def test_answers_are_kept_and_shown(ask: Ask, find: Find) -> None:
    await find()
    entry = await entry_of(ask)
    path = f"{ENTRIES}/{entry['id']}"

    for answer, body in (("view", None), ("act", {"text": "Key revoked"}), ("root_cause", {"text": "Leak"}), ("acknowledge", None)):
        assert (await ask("POST", f"{path}/{answer}", **({"json": body} if body else {}))).status == 200
    answered = (await ask("POST", f"{path}/dismiss")).body

    EntryAnswer.model_validate(answered)
    assert (answered["action_taken"], answered["root_cause"]) == ("Key revoked", "Leak")
    moments = ("viewed_at", "acted_at", "root_cause_set_at", "acknowledged_at", "dismissed_at")
    assert {answered[name] for name in moments} == {"2025-01-15T10:30:00+00:00"}
    assert await entry_of(ask) == answered


@pytest.mark.usefixtures("configs")
async def test_what_one_feed_answers_the_others_show(gateway: Any, ask: Ask, find: Find) -> None:
    await find()
    gateway.clock.advance(seconds=1)
    await find("other")
    [first, second] = (await ask("GET", ENTRIES)).body

    await ask("POST", f"{ENTRIES}/{first['id']}/acknowledge")
    await ask("POST", "/api/alerts/dismiss", json={"id": "alert_2"})

    shown = {one["id"]: one for one in (await ask("GET", ENTRIES)).body}
    assert (await gateway.services.alerts.get(1)).status is Status.ACKNOWLEDGED
    assert shown[first["id"]]["acknowledged_at"] is not None
    assert (shown[second["id"]]["dismissed_at"], shown[second["id"]]["acknowledged_at"]) == ("2025-01-15T10:30:01+00:00", None)


async def test_what_a_config_does_not_allow_is_422(gateway: Any, ask: Ask, find: Find) -> None:
    await gateway.services.entries.configs.follow_file(SHIPPED)
    await find()
    entry = await entry_of(ask)

    custom = await ask("POST", f"{ENTRIES}/{entry['id']}/act", json={"text": "Something else"})
    preset = await ask("POST", f"{ENTRIES}/{entry['id']}/act", json={"text": "Key revoked"})

    assert (custom.status, preset.status) == (422, 200)
    assert "choose one of: 'Caller contacted', 'Key revoked'" in custom.body["error"]


async def test_an_answer_to_no_entry_is_404(ask: Ask) -> None:
    assert (await ask("GET", f"{ENTRIES}/none")).status == 404
    for answer in ("view", "acknowledge", "act", "root_cause", "dismiss"):
        body = {"json": {"text": "x"}} if answer in {"act", "root_cause"} else {}
        found = await ask("POST", f"{ENTRIES}/0194f1c2-0000-7000-8000-000000000000/{answer}", **body)
        assert (found.status, found.body) == (404, {"error": "entry not found"})


async def test_a_text_that_does_not_fit_is_400(ask: Ask) -> None:
    for body in ({}, {"text": ""}, {"text": "  "}, {"text": "x" * 501}, {"text": 1}, {"text": "x", "by": "me"}):
        assert (await ask("POST", f"{ENTRIES}/x/act", json=body)).status == 400


# --- configs --------------------------------------------------------------------------------------------------------------

FULL = {
    "title": "Bots",
    "time_window_seconds": 120,
    "min_events": 2,
    "labels": ["rate_limit_hit", "prompt_drift"],
    "rois": ["*/bot*/*"],
    "preset_tags": [{"tag_category": "action", "text": "Stopped"}],
    "allow_custom_action": True,
    "allow_custom_root_cause": False,
    "ack_mechanisms": ["view", "act"],
}


async def test_a_config_is_made_changed_in_part_and_deleted(gateway: Any, ask: Ask, find: Find) -> None:
    made = await ask("POST", CONFIGS, json=FULL)
    path = f"{CONFIGS}/{made.body['id']}"
    shown = await ask("GET", path)
    gateway.clock.advance(seconds=1)
    changed = await ask("PUT", path, json={"min_events": 1, "rois": shown.body["rois"]})
    await find()
    [entry] = (await ask("GET", ENTRIES)).body
    deleted = await ask("DELETE", path)

    assert (made.status, shown.body) == (201, made.body)
    ConfigAnswer.model_validate(made.body)
    assert made.body["labels"] == [{"name": "rate_limit_hit", "title": "Rate limit hit"}, {"name": "prompt_drift", "title": "Prompt drift"}]
    assert {**made.body, "min_events": 1, "updated_at": changed.body["updated_at"]} == changed.body
    assert changed.body["updated_at"] > made.body["updated_at"]
    assert (entry["title"], entry["config_id"]) == ("Bots", made.body["id"])
    assert (deleted.status, deleted.raw) == (204, b"")
    assert (await ask("GET", path)).status == 404
    assert (await ask("GET", ENTRIES)).body == [entry]


UNFIT = [
    ({"title": None}, "missing title"),
    ({"title": ""}, "title"),
    ({"time_window_seconds": 0}, "time_window_seconds"),
    ({"time_window_seconds": 1.5}, "time_window_seconds"),
    ({"min_events": 1001}, "min_events"),
    ({"min_events": "2"}, "min_events"),
    ({"labels": ["typo"]}, "'typo' is no label of a detection: use prompt_drift"),
    ({"labels": [{"name": "prompt_drift", "color": "red"}]}, "labels"),
    ({"rois": ["a", "a"]}, "rois: one of them stands twice"),
    ({"rois": [""]}, "rois"),
    ({"ack_mechanisms": []}, "ack_mechanisms"),
    ({"ack_mechanisms": ["wave"]}, "ack_mechanisms"),
    ({"preset_tags": [{"tag_category": "other", "text": "x"}]}, "preset_tags"),
    ({"id": "x"}, "unknown key id"),
]


async def test_a_config_that_does_not_fit_is_400(ask: Ask) -> None:
    for change, said in UNFIT:
        answer = await ask("POST", CONFIGS, json={**FULL, **change})
        assert answer.status == 400, change
        assert said in answer.body["error"]


async def test_there_are_only_so_many_configs(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alerting.entry_configs.MOST_STORED", 1)

    statuses = [(await ask("POST", CONFIGS, json=FULL)).status for _ in range(2)]

    assert statuses == [201, 409]


async def test_what_the_file_defines_is_read_only_but_can_be_silenced(ask: Ask, configs: Any) -> None:
    [kept] = await configs.all()
    path = f"{CONFIGS}/{kept.id}"

    for method, more in (("PUT", {"json": {"title": "x"}}), ("DELETE", {})):
        answer = await ask(method, path, **more)
        assert answer.status == 409
        assert "alerting.entry_configs in the config file" in answer.body["error"]
    silenced = await ask("POST", f"{path}/silence", json={"until": "2025-02-01"})
    lifted = await ask("POST", f"{path}/silence", json={"until": None})

    assert (silenced.body["silenced_until"], lifted.body["silenced_until"]) == ("2025-02-01T00:00:00+00:00", None)


async def test_a_place_is_silenced_until_the_silence_is_over(gateway: Any, ask: Ask, find: Find, configs: Any) -> None:
    [kept] = await configs.all()
    body = {"until": "2025-01-15T11:30:00+01:00", "roi": "openai/bot/chat"}
    refused = await ask("POST", f"{CONFIGS}/{kept.id}/silence", json=body)
    silenced = await ask("POST", f"{CONFIGS}/{kept.id}/silence", json={**body, "until": "2025-01-15T11:31:00+01:00"})
    await find()
    await find("other")
    before = (await ask("GET", ENTRIES)).body
    gateway.clock.advance(minutes=1)
    await find()

    assert (refused.status, refused.body["error"].partition(";")[0]) == (400, "invalid until: it is over, now is 2025-01-15T10:30:00+00:00")
    assert silenced.body["silenced_rois"] == [
        {
            "name": "openai/bot/chat",
            "title": "bot: chat of openai",
            "api_name": "openai_bot_chat",
            "silenced_until": "2025-01-15T10:31:00+00:00",
        }
    ]
    assert [one["events"][0]["roi_name"] for one in before] == ["openai/other/chat"]
    assert len((await ask("GET", ENTRIES)).body) == 2
    assert (await ask("GET", f"{CONFIGS}/{kept.id}")).body["silenced_rois"] == []


async def test_a_silence_that_does_not_fit_is_400(ask: Ask, configs: Any) -> None:
    [kept] = await configs.all()

    for body in ({}, {"until": "soon"}, {"until": 5}, {"until": "2025-02-01", "roi": ""}, {"until": "2025-02-01", "x": 1}):
        assert (await ask("POST", f"{CONFIGS}/{kept.id}/silence", json=body)).status == 400, body


async def test_no_such_config_is_404(ask: Ask) -> None:
    nothing, until = {"json": {}}, {"json": {"until": None}}
    for method, path, more in (("GET", "/x", {}), ("PUT", "/x", nothing), ("DELETE", "/x", {}), ("POST", "/x/silence", until)):
        answer = await ask(method, CONFIGS + path, **more)
        assert (answer.status, answer.body) == (404, {"error": "config not found"})
