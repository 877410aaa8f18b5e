"""The variables that `env` and `exec` set, and the files that they name."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from proxy.ca import CertificateAuthority
from tollwatch.environment import (
    ADDING,
    PROXIES,
    REPLACING,
    EnvironmentUnavailableError,
    Options,
    no_proxy,
    reachable,
    shell_lines,
    variables,
)
from tollwatch.rawconfig import RawConfig

FORWARD = "http://127.0.0.1:8080"


@pytest.fixture
def raw(tmp_path: Path) -> RawConfig:
    CertificateAuthority.open_or_create(tmp_path / "ca", now=datetime.now(UTC))
    return RawConfig(None, {"data_dir": str(tmp_path)})


@pytest.fixture
def own_roots(tmp_path: Path) -> Callable[[str], tuple[Path, str]]:
    """Make a root of the user's own; return its file and its PEM."""

    def make(name: str) -> tuple[Path, str]:
        path = tmp_path / f"{name}.pem"
        pem = trustme.CA(organization_name=name).cert_pem.bytes().decode().strip()
        path.write_text(f"# roots of {name}\n{pem}\n")
        return path, pem

    return make


def our_certificate(raw: RawConfig) -> str:
    return (raw.data_dir / "ca" / "ca.pem").read_text().strip()


def test_both_cases_of_the_proxy_variables_lead_to_the_forward_door(raw: RawConfig) -> None:
    made = variables(raw, {}, Options())

    assert {made[name] for name in PROXIES} == {FORWARD}


def test_the_bundle_holds_the_public_roots_and_ours(raw: RawConfig) -> None:
    made = variables(raw, {}, Options())

    assert len({made[name] for name in REPLACING}) == 1
    bundle = Path(made["SSL_CERT_FILE"]).read_text()
    assert bundle.count("BEGIN CERTIFICATE") > 100
    assert our_certificate(raw) in bundle


@pytest.mark.parametrize("name", REPLACING)
def test_the_users_own_roots_stay_trusted(name: str, raw: RawConfig, own_roots: Callable[[str], tuple[Path, str]]) -> None:
    path, pem = own_roots("corporation")

    made = variables(raw, {name: str(path)}, Options())

    assert pem in Path(made["SSL_CERT_FILE"]).read_text()
    assert Path(made["NODE_EXTRA_CA_CERTS"]).read_text().strip() == our_certificate(raw)


def test_a_variable_that_adds_keeps_what_it_added(raw: RawConfig, own_roots: Callable[[str], tuple[Path, str]]) -> None:
    path, pem = own_roots("corporation")

    made = variables(raw, {"NODE_EXTRA_CA_CERTS": str(path)}, Options())

    for name in ADDING:
        text = Path(made[name]).read_text()
        assert pem in text
        assert our_certificate(raw) in text


def test_two_shells_with_other_roots_do_not_share_a_file(raw: RawConfig, own_roots: Callable[[str], tuple[Path, str]]) -> None:
    one = variables(raw, {"SSL_CERT_FILE": str(own_roots("one")[0])}, Options())
    two = variables(raw, {"SSL_CERT_FILE": str(own_roots("two")[0])}, Options())

    assert one["SSL_CERT_FILE"] != two["SSL_CERT_FILE"]
    assert "one" not in Path(two["SSL_CERT_FILE"]).name


def test_exec_inside_exec_changes_nothing(raw: RawConfig) -> None:
    once = variables(raw, {}, Options())

    assert variables(raw, once, Options()) == once


def test_a_root_file_that_is_gone_is_passed_over(raw: RawConfig, tmp_path: Path) -> None:
    made = variables(raw, {"SSL_CERT_FILE": str(tmp_path / "gone.pem")}, Options())

    assert our_certificate(raw) in Path(made["SSL_CERT_FILE"]).read_text()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "intra.example"}, "intra.example,localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "a, 127.0.0.1", "no_proxy": "b"}, "a,127.0.0.1,b,localhost,::1"),
    ],
)
def test_loopback_goes_past_the_proxy_beside_the_users_exceptions(environ: dict[str, str], expected: str) -> None:
    assert no_proxy(environ) == expected


def test_the_caller_stands_in_the_proxys_url(raw: RawConfig) -> None:
    made = variables(raw, {}, Options(user="dev@example.com"))

    assert made["HTTPS_PROXY"] == "http://dev%40example.com:-@127.0.0.1:8080"


def test_base_urls_lead_to_the_base_url_door(raw: RawConfig) -> None:
    made = variables(raw, {"AZURE_OPENAI_ENDPOINT": "https://my-res.openai.azure.com/"}, Options(base_url=True))

    assert made["OPENAI_BASE_URL"] == "http://127.0.0.1:8081/openai/v1"
    assert made["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:8081/anthropic"
    assert made["AZURE_OPENAI_ENDPOINT"] == "http://127.0.0.1:8081/azure/my-res"
    assert "OLLAMA_HOST" not in made


def test_ollama_is_pointed_only_at_a_configured_upstream(raw: RawConfig) -> None:
    raw.values["proxy"] = {"upstreams": {"ollama": "http://127.0.0.1:11434"}}

    assert variables(raw, {}, Options())["OLLAMA_HOST"] == "http://127.0.0.1:8081/ollama"


def test_the_aws_sdk_for_javascript_gets_the_door_over_tls(raw: RawConfig) -> None:
    made = variables(raw, {}, Options(bedrock_node=True))

    assert made["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"] == "https://localhost:8081/bedrock"


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_bedrock_on_the_base_url_door_is_that_of_the_clients_region(raw: RawConfig, variable: str) -> None:
    keyed = {"AWS_BEARER_TOKEN_BEDROCK": "key", variable: "eu-west-1"}

    assert variables(raw, keyed, Options(base_url=True))["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"] == "https://localhost:8081/bedrock/eu-west-1"


def test_who_signs_requests_to_bedrock_stays_at_the_forward_door(raw: RawConfig) -> None:
    made = variables(raw, {"AWS_ACCESS_KEY_ID": "AKID", "AWS_REGION": "eu-west-1"}, Options(base_url=True))

    assert "AWS_ENDPOINT_URL_BEDROCK_RUNTIME" not in made


def test_java_gets_a_trust_store_and_keeps_its_own_flags(raw: RawConfig) -> None:
    made = variables(raw, {"JAVA_TOOL_OPTIONS": "-Xmx1g"}, Options(java=True))

    flags = made["JAVA_TOOL_OPTIONS"].split()
    assert flags[0] == "-Xmx1g"
    assert "-Dhttps.proxyPort=8080" in flags
    store = next(flag.partition("=")[2] for flag in flags if flag.startswith("-Djavax.net.ssl.trustStore="))
    assert Path(store).stat().st_size > 1000


def test_without_a_ca_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnavailableError, match="tollwatch init"):
        variables(RawConfig(None, {"data_dir": str(tmp_path)}), {}, Options())


@pytest.mark.parametrize(
    ("listen", "expected"),
    [("127.0.0.1:1", "127.0.0.1:1"), ("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("[::1]:1", "[::1]:1")],
)
def test_a_door_on_every_address_is_reached_by_loopback(listen: str, expected: str) -> None:
    assert reachable(listen) == expected


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "export A='it'\\''s'"),
        ("zsh", "export A='it'\\''s'"),
        ("fish", "set -gx A 'it\\'s'"),
        ("powershell", "$env:A = 'it''s'"),
        ("dotenv", 'A="it\'s"'),
    ],
)
def test_each_shell_gets_its_own_quotes(shell: str, line: str) -> None:
    assert list(shell_lines({"A": "it's"}, shell)) == [line]
