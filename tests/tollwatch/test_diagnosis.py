"""What doctor says when something is wrong."""

import http.server
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxy.ca import CertificateAuthority
from tests.support.gateway import free_ports
from tollwatch.config import validate
from tollwatch.diagnosis import Finding, Subject, examine
from tollwatch.rawconfig import RawConfig


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    forward, base, api = (f"127.0.0.1:{port}" for port in free_ports(3))
    values = {"data_dir": str(tmp_path / "data"), "proxy": {"listen": forward, "base_url_listen": base}, "api": {"listen": api}}
    raw = RawConfig(None, values)
    return Subject(config=validate(raw), raw=raw)


def authority(subject: Subject, *, age: timedelta = timedelta(0)) -> None:
    subject.config.data_dir.mkdir(mode=0o700)
    CertificateAuthority.open_or_create(subject.certificate.parent, now=datetime.now(UTC) - age)


@contextmanager
def stranger(address: tuple[str, int], *, status: int, call: str | None = None) -> Iterator[None]:
    """Another program on a port of ours."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            if call:
                self.send_header("x-tollwatch-call", call)
            self.send_header("content-length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(address, Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


def bad(findings: Iterator[Finding]) -> dict[str, str]:
    return {finding.check: f"{finding.detail}; {finding.remedy}" for finding in findings if not finding.ok}


def test_nothing_there_names_the_first_steps(subject: Subject) -> None:
    said = bad(examine(subject))

    assert "tollwatch init" in said["data directory"]
    assert "tollwatch init" in said["CA"]
    assert "tollwatch run" in said["forward door"]


@pytest.mark.parametrize(("path", "words"), [("", "chmod 700"), ("ca", "chmod")])
def test_loose_modes_are_named(subject: Subject, path: str, words: str) -> None:
    authority(subject)
    (subject.config.data_dir / path).chmod(0o755)

    assert any(words in sentence for sentence in bad(examine(subject)).values())


def test_an_old_certificate_is_named(subject: Subject) -> None:
    authority(subject, age=timedelta(days=350))

    assert "start the gateway again" in bad(examine(subject))["CA"]


def test_strangers_on_our_ports_are_named(subject: Subject) -> None:
    authority(subject)

    with stranger(subject.forward, status=200), stranger(subject.base_url, status=200), stranger(subject.api, status=503):
        said = bad(examine(subject))

    assert "no answer" in said["call by the forward door"]
    assert "by something else" in said["call by the base-URL door"]
    assert "/readyz answers 503" in said["ready"]


def test_a_gateway_of_another_data_dir_is_named(subject: Subject) -> None:
    authority(subject)

    with stranger(subject.forward, status=200), stranger(subject.base_url, status=200, call="x"), stranger(subject.api, status=200):
        said = bad(examine(subject))

    assert "another data_dir" in said["call by the base-URL door"]


def test_a_program_that_does_not_get_through_is_named(subject: Subject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority(subject)
    (tmp_path / "node").write_text("#!/bin/sh\necho ENOTFOUND >&2\nexit 1\n")
    (tmp_path / "node").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    with stranger(subject.forward, status=500), stranger(subject.base_url, status=200), stranger(subject.api, status=200):
        said = bad(examine(subject, programs=("python", "node")))

    assert sys.executable in said["python through exec"]
    assert "ENOTFOUND" in said["node through exec"]
