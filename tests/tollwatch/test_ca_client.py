"""`ca client issue|revoke|ls`, against a gateway that runs and without one."""

import json
import ssl
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.asking import chat
from tests.support.gateway import Gateway
from tests.support.provider import Provider
from tollwatch import cli
from tollwatch.config import validate
from tollwatch.rawconfig import ConfigError, RawConfig

ASKS = {"proxy": {"client_certificates": "required"}, "identity": [{"client_certificate": True}]}


type Typed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Return what runs a command here, where no gateway runs: without the start of a process."""

    def run(gateway: Gateway, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        monkeypatch.setenv("TOLLWATCH_CONFIG", str(gateway.config_file))
        code = cli.main(arguments)
        assert not (check and code)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, said.out, said.err)

    return run


def status(gateway: Gateway, certificate: Path | None) -> int:
    trust = gateway.trust()
    if certificate is not None:
        trust.load_cert_chain(certificate)
    with httpx.Client(verify=trust, trust_env=False) as client:
        response = client.post(f"https://{gateway.base}/openai/v1/chat/completions", json=chat(), headers={"authorization": "Bearer k"})
    return response.status_code


def listed(gateway: Gateway, typed: Typed = Gateway.command) -> list[dict[str, Any]]:
    return [json.loads(line) for line in typed(gateway, "ca", "client", "ls", "--json").stdout.splitlines()]


def test_a_certificate_is_good_from_its_issue_to_its_revocation_and_both_outlive_a_crash(tmp_path: Path) -> None:
    ada, bot = tmp_path / "ada.pem", tmp_path / "bot.pem"
    with Provider(tmp_path) as provider, Gateway(tmp_path / "g", provider, config=ASKS) as gateway:
        assert status(gateway, None) == 403

        made = json.loads(gateway.command("ca", "client", "issue", "ada", "--out", str(ada), "--json").stdout)
        serial = gateway.command("ca", "client", "issue", "bot", "--service", "--out", str(bot)).stdout.strip()

        assert (status(gateway, ada), status(gateway, bot)) == (200, 200)
        assert [stat.S_IMODE(path.stat().st_mode) for path in (ada, gateway.data_dir / "client-ca" / "client-ca.pem")] == [0o600, 0o600]
        assert (made["name"], made["field"], made["state"], made["path"]) == ("ada", "user", "valid", str(ada))

        said = gateway.command("ca", "client", "revoke", serial[:8]).stderr
        assert serial in said
        assert (status(gateway, ada), status(gateway, bot)) == (200, 403)
        gateway.kill()
        gateway.start()
        assert (status(gateway, ada), status(gateway, bot)) == (200, 403)

        rows = gateway.wait_settled(7)
        assert [(row["user"], row["service"]) for row in rows if row["state"] != "refused"] == [
            ("ada", "openai"),
            (None, "bot"),
            ("ada", "openai"),
            ("ada", "openai"),
        ]
        assert [(one["name"], one["state"]) for one in listed(gateway)] == [("ada", "valid"), ("bot", "revoked")]
        assert "revoked  bot" in gateway.command("ca", "client", "ls").stdout
        alerts = gateway.rows("SELECT kind, occurrence_count FROM alerts WHERE kind = 'client_cert_revoked'")
        assert alerts == [{"kind": "client_cert_revoked", "occurrence_count": 2}]
        key = ada.read_text().partition("-----BEGIN CERTIFICATE")[0]
        assert key.splitlines()[1] not in gateway.database.read_bytes().decode("latin-1")


def test_without_a_gateway_the_command_writes_itself_and_says_that_nobody_is_asked(tmp_path: Path, typed: Typed) -> None:
    gateway = Gateway(tmp_path)
    path = tmp_path / "a b.pem"

    assert typed(gateway, "ca", "client", "ls").stdout.startswith("STATE")
    said = typed(gateway, "ca", "client", "issue", "ada", "--days", "1", "--out", str(path)).stderr
    typed(gateway, "ca", "client", "revoke", "ada")

    assert "asks nobody for a certificate yet" in said
    ssl.create_default_context().load_cert_chain(path)
    assert [one["state"] for one in listed(gateway, typed)] == ["revoked"]


def test_what_cannot_be_done_says_why_and_leaves_nothing(tmp_path: Path, typed: Typed) -> None:
    gateway = Gateway(tmp_path)
    there = tmp_path / "there.pem"
    there.write_text("mine")
    nowhere, new = tmp_path / "no" / "where.pem", tmp_path / "new.pem"
    refused = [
        (("issue", "ada", "--out", str(there)), "there already"),
        (("issue", "ada", "--out", str(nowhere)), "No such file"),
        (("issue", "ada", "--days", "826", "--out", str(new)), "1 to 825 days"),
        (("issue", "x" * 65, "--out", str(new)), "1 to 64 printable"),
        (("revoke", "ada"), "no client certificate with the name or serial number 'ada'"),
    ]

    for arguments, words in refused:
        done = typed(gateway, "ca", "client", *arguments, check=False)
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr

    assert (there.read_text(), new.exists(), listed(gateway, typed)) == ("mine", False, [])


def test_a_certificate_that_could_not_be_recorded_is_not_handed_out(tmp_path: Path, typed: Typed) -> None:
    gateway = Gateway(tmp_path)
    typed(gateway, "ca", "client", "issue", "ada", "--out", str(tmp_path / "first.pem"))
    gateway.database.write_bytes(b"no database at all" * 1000)

    done = typed(gateway, "ca", "client", "issue", "ada", "--out", str(tmp_path / "second.pem"), check=False)

    assert done.returncode == 1
    assert not (tmp_path / "second.pem").exists()


@pytest.mark.parametrize("word", [False, "off"])
def test_an_identity_by_certificates_that_nobody_is_asked_for_is_an_error(word: object) -> None:
    values = {"identity": [{"client_certificate": True}], "proxy": {"client_certificates": word}}

    with pytest.raises(ConfigError, match=r"proxy\.client_certificates is off"):
        validate(RawConfig(path=None, values=values, lines={}, origins={}, references={}))
