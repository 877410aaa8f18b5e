"""A reader of the stream that comes back with the last id hears every change of every alert once, however often the gateway is killed.

The short version is in tests/api/test_stream.py.
"""

import json
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.gateway import Gateway, poll

RESTARTS = 12
RULE = {"id": "R", "title": "No bad models", "match": {"model": "bad-*"}, "action": "block", "severity": "high"}


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Follower:
    """Follows the stream in a thread, and connects again with the last id whenever it ends."""

    def __init__(self, gateway: Gateway, token: str) -> None:
        self.heard: list[tuple[int, str]] = []
        self.last = "0"
        self.ends: list[str] = []
        self._gateway = gateway
        self._token = token
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.is_set():
            try:
                self._follow()
            except OSError:  # no gateway is there now, or it was killed
                self._done.wait(0.05)

    def _follow(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}", "Last-Event-ID": self.last}
        request = urllib.request.Request(f"http://{self._gateway.api}/api/stream?types=alerts", headers=headers)
        with OPENER.open(request, timeout=30) as stream:
            fields: dict[str, str] = {}
            for line in stream:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif fields:
                    self._event(fields)
                    fields = {}

    def _event(self, fields: dict[str, str]) -> None:
        data = json.loads(fields["data"])
        if fields["event"] == "alert":
            self.heard.append((data["alert"]["seq"], data["change"]))
        elif fields["event"] == "end":
            self.ends.append(data["reason"])
        self.last = fields["id"]


def call(gateway: Gateway, model: str) -> None:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]}).encode()
    headers = {"content-type": "application/json", "authorization": "Bearer sk-test"}
    request = urllib.request.Request(f"http://{gateway.base}/openai/v1/chat/completions", body, headers)
    with pytest.raises(urllib.error.HTTPError):
        OPENER.open(request, timeout=10)


def dismiss(gateway: Gateway, token: str, seq: int) -> None:
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    body = json.dumps({"id": f"alert_{seq}"}).encode()
    request = urllib.request.Request(f"http://{gateway.api}/api/alerts/dismiss", body, headers)
    OPENER.open(request, timeout=10).close()


@pytest.mark.soak
def test_every_change_is_heard_once_over_kills(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, config={"rules": [RULE]})
    gateway.start()
    token = gateway.token()
    changed: list[Any] = []

    with Follower(gateway, token) as follower:
        for turn in range(RESTARTS + 1):
            if turn:
                gateway.kill()
                gateway.start()
            for number in range(5):
                call(gateway, f"bad-{turn}-{number}")
                call(gateway, f"bad-{turn}-{number}")
            dismiss(gateway, token, 5 * turn + 1)
            call(gateway, f"bad-{turn}-0")
        poll(lambda: len([one for one in follower.heard if one[1] != "raised"]) >= 6 * (RESTARTS + 1), seconds=20, what="the last change")
        changed = [(row["alert_seq"], row["event"]) for row in gateway.rows("SELECT alert_seq, event FROM alert_history ORDER BY seq")]
        gateway.stop()
        poll(lambda: follower.ends, what="the last event")

    assert [one for one in follower.heard if one[1] != "raised"] == changed
    assert len(changed) >= 6 * (RESTARTS + 1)
    assert {seq for seq, change in follower.heard if change == "raised"} <= {seq for seq, _ in changed}
    assert follower.ends == ["shutdown"]
