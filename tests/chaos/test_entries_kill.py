"""SIGKILL under load: entries are what the detections make, each once, and a poller has seen each of them."""

import http.client
import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.gateway import Gateway, poll

CONFIGS = ((1, 1), (2, 3))
CONFIG: dict[str, Any] = {
    "rules": [{"id": "SEC-009", "title": "Not these", "match": {"model": "gpt-4*"}, "action": "block", "severity": "high"}],
    "alerting": {
        "entry_configs": [
            {"title": f"{window} {least}", "time_window_seconds": window, "min_events": least, "labels": ["policy_violation"]}
            for window, least in CONFIGS
        ]
    },
}
KILLS = 4
REFUSED_EACH_TIME = 150
BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]})


class Load:
    """Callers who are always refused, and one who asks for entries again and again with the last `created_at`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._token = gateway.token()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(3)]
        self._poller = threading.Thread(target=self._poll)
        self.refused = 0
        self.polled: list[str] = []
        for thread in (*self._threads, self._poller):
            thread.start()

    def end(self) -> None:
        """Stop calling; return once the poller has got an empty answer after that."""
        self._over.set()
        for thread in (*self._threads, self._poller):
            thread.join()

    def _call(self, number: int) -> None:
        while not self._over.wait(0.02):
            headers = {"content-type": "application/json", "authorization": "Bearer sk-x", "x-tollwatch-user": f"user-{number}"}
            with suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection(self._gateway.base, timeout=20)
                connection.request("POST", "/openai/v1/chat/completions", BODY, headers)
                self.refused += connection.getresponse().status == 403
                connection.close()

    def _poll(self) -> None:
        since, last = "2020-01-01", False
        while True:
            with suppress(OSError, http.client.HTTPException):
                status, found = self._gateway.get(f"/api/v1/alerts/entries?since={quote(since)}", token=self._token)
                assert status == 200
                self.polled += [entry["id"] for entry in found]
                if last and not found:
                    return
                since = found[-1]["created_at"] if found else since
                last = self._over.is_set()


def naive(rows: list[dict[str, Any]], *, window: int, least: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the entries that the contract's own words make of detections in the order of time."""
    at = {row["id"]: row["detected_at"] for row in rows}
    places: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        places[row["place"]].append(row["id"])
    for place, ids in places.items():
        entry, waiting = list[str](), list[str]()
        for one in ids:
            if entry and at[one] - at[entry[-1]] <= window * 1_000_000:
                entry.append(one)
                continue
            waiting = [*(other for other in waiting if at[one] - at[other] <= window * 1_000_000), one]
            if len(waiting) >= least:
                if entry:
                    yield place, entry
                entry, waiting = waiting, []
        if entry:
            yield place, entry


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_whenever_it_is_killed_every_detection_is_in_its_entry_and_every_entry_is_polled_once(gateway: Gateway) -> None:
    load = Load(gateway)
    try:
        for _ in range(KILLS):
            goal = load.refused + REFUSED_EACH_TIME
            poll(lambda goal=goal: load.refused >= goal, what="enough refused calls")
            gateway.kill()
            gateway.start()
    finally:
        load.end()

    every = [entry["id"] for entry in gateway.get("/api/v1/alerts/entries?since=2020-01-01", token=gateway.token())[1]]
    found = gateway.rows("SELECT id, place, detected_at FROM detections WHERE kind = 'policy_violation' ORDER BY detected_at, id")
    assert load.polled == every
    assert len(found) >= load.refused >= KILLS * REFUSED_EACH_TIME
    for window, least in CONFIGS:
        events: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for row in gateway.rows(
            "SELECT n.id, n.place, e.detection_id FROM entries n JOIN entry_events e ON e.entry_id = n.id "
            "WHERE n.title = ? ORDER BY e.detected_at, e.detection_id",
            [f"{window} {least}"],
        ):
            events[row["id"], row["place"]].append(row["detection_id"])
        made = [(place, ids) for (_, place), ids in events.items()]
        assert sorted(made) == sorted(naive(found, window=window, least=least))
