"""The certificate authority: kept private, trusted for few names, renewed in time, and leaves that strict clients accept."""

import asyncio
import os
import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from mitmproxy import certs

from proxy import certificates
from proxy.ca import CaError, CaModesError, CertificateAuthority, check_modes

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_key_and_folder_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        authority = CertificateAuthority.open_or_create(tmp_path / "ca")
        authority.leaf_context()
    finally:
        os.umask(before)

    assert mode(tmp_path / "ca") == 0o700
    assert {path.name: mode(path) for path in (tmp_path / "ca").iterdir()} == {"mitmproxy-ca.pem": 0o600, "ca.pem": 0o644, "api.pem": 0o600}
    assert b"PRIVATE" not in authority.certificate_pem.read_bytes()


def test_it_is_constrained_to_the_providers_and_this_machine(tmp_path: Path) -> None:
    certificate = CertificateAuthority.open_or_create(tmp_path / "ca", ["*.llm.example.com"], now=NOW).certificate

    constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    names = {str(name.value) for name in constraints.value.permitted_subtrees or ()}
    assert constraints.critical
    assert {"api.openai.com", "api.anthropic.com", "localhost", "tollwatch.invalid", "llm.example.com", "127.0.0.1/32", "::1/128"} <= names
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= timedelta(days=366)


@pytest.mark.parametrize(
    ("patterns", "suffixes"),
    [
        (["api.openai.com", "*.openai.com"], ("openai.com",)),
        (["bedrock-runtime.*.amazonaws.com"], ("amazonaws.com",)),
        (["*-aiplatform.googleapis.com"], ("googleapis.com",)),
        (["vllm", "*.internal", "10.0.0.7", "::1"], ("internal", "vllm")),
    ],
)
def test_a_host_glob_becomes_the_narrowest_suffix(patterns: list[str], suffixes: tuple[str, ...]) -> None:
    assert set(certificates.permitted_suffixes(patterns)) == {*suffixes, "localhost", "tollwatch.invalid"}


@pytest.mark.parametrize("pattern", ["*", "*.com", "api.*"])
def test_a_glob_for_a_whole_top_level_domain_is_refused_with_a_remedy(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"too wide.*proxy\.intercept_hosts"):
        certificates.permitted_suffixes([pattern])


def test_it_is_the_same_at_the_next_start(tmp_path: Path) -> None:
    first = CertificateAuthority.open_or_create(tmp_path / "ca")
    first.certificate_pem.unlink()

    second = CertificateAuthority.open_or_create(tmp_path / "ca")

    assert (second.fingerprint, second.renewed) == (first.fingerprint, None)
    assert second.certificate_pem.exists()


def test_a_new_host_issues_it_again_with_the_same_key(tmp_path: Path) -> None:
    first = CertificateAuthority.open_or_create(tmp_path / "ca")

    second = CertificateAuthority.open_or_create(tmp_path / "ca", ["llm.example.com"])

    assert "llm.example.com" in (second.renewed or "")
    assert second.certificate.public_key() == first.certificate.public_key()


def test_it_is_renewed_when_four_fifths_of_its_life_are_over(tmp_path: Path) -> None:
    first = CertificateAuthority.open_or_create(tmp_path / "ca", now=NOW)

    before = CertificateAuthority.open_or_create(tmp_path / "ca", now=NOW + timedelta(days=290))
    after = CertificateAuthority.open_or_create(tmp_path / "ca", now=NOW + timedelta(days=292))

    assert (before.renewed, before.fingerprint) == (None, first.fingerprint)
    assert after.renewed is not None
    assert after.show().not_after > first.show().not_after


def test_rotating_makes_a_new_key(tmp_path: Path) -> None:
    first = CertificateAuthority.open_or_create(tmp_path / "ca")

    second = CertificateAuthority.rotate(tmp_path / "ca")

    assert second.certificate.public_key() != first.certificate.public_key()
    assert CertificateAuthority.open_or_create(tmp_path / "ca").show() == second.show()


@pytest.mark.parametrize("name", ["", "mitmproxy-ca.pem", "api.pem"])
def test_what_others_could_read_is_refused_with_the_command_that_mends_it(tmp_path: Path, name: str) -> None:
    CertificateAuthority.open_or_create(tmp_path / "ca").leaf_context()
    path = tmp_path / "ca" / name
    path.chmod(0o755)

    with pytest.raises(CaModesError, match=r"0755.*chmod 0[67]00") as caught:
        CertificateAuthority.open_or_create(tmp_path / "ca")
    assert (caught.value.path, caught.value.mode) == (path, 0o755)


def test_a_key_that_is_a_link_is_refused(tmp_path: Path) -> None:
    CertificateAuthority.open_or_create(tmp_path / "ca")
    key = tmp_path / "ca" / "mitmproxy-ca.pem"
    key.rename(tmp_path / "elsewhere.pem")
    key.symlink_to(tmp_path / "elsewhere.pem")

    with pytest.raises(CaModesError, match="link"):
        check_modes(tmp_path / "ca")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_key_of_somebody_else_is_refused(tmp_path: Path) -> None:
    CertificateAuthority.open_or_create(tmp_path / "ca")
    os.chown(tmp_path / "ca" / "mitmproxy-ca.pem", 12345, 12345)

    with pytest.raises(CaModesError, match="chown"):
        check_modes(tmp_path / "ca")


def test_a_broken_authority_says_how_to_make_a_new_one(tmp_path: Path) -> None:
    authority = CertificateAuthority.open_or_create(tmp_path / "ca")
    other = CertificateAuthority.open_or_create(tmp_path / "other")
    key = tmp_path / "ca" / "mitmproxy-ca.pem"
    private = key.read_bytes().partition(b"-----BEGIN CERTIFICATE")[0]

    key.write_bytes(private + other.certificate_pem.read_bytes())
    with pytest.raises(CaError, match=r"do not belong together.*ca rotate"):
        CertificateAuthority.open_or_create(tmp_path / "ca")
    key.write_bytes(b"nothing")
    with pytest.raises(CaError, match="remove the file"):
        CertificateAuthority.open_or_create(tmp_path / "ca")
    assert authority.certificate_pem.exists()


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> dict[str, Any]:
    left, right = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(left, server_side=True).close()
        except (ssl.SSLError, OSError):
            left.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(right, server_hostname=name) as secure:
            return dict(secure.getpeercert() or {})
    finally:
        right.close()
        thread.join()


def strict(authority: CertificateAuthority) -> ssl.SSLContext:
    context = authority.client_context()
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_a_strict_client_accepts_the_apis_certificate(tmp_path: Path, name: str) -> None:
    authority = CertificateAuthority.open_or_create(tmp_path / "ca")

    assert handshake(authority.leaf_context(), strict(authority), name)


def test_a_client_refuses_a_certificate_for_a_name_outside_the_constraints(tmp_path: Path) -> None:
    authority = CertificateAuthority.open_or_create(tmp_path / "ca")
    store = certs.CertStore.from_store(tmp_path / "ca", "mitmproxy", 2048)
    entry = store.get_cert("bank.example", [x509.DNSName("bank.example")])
    pem = tmp_path / "leaf.pem"
    pem.write_bytes((tmp_path / "ca" / "mitmproxy-ca.pem").read_bytes().partition(b"-----BEGIN CERTIFICATE")[0] + entry.cert.to_pem())
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(pem)

    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        handshake(server, authority.client_context(), "bank.example")


@pytest.mark.parametrize(
    "host", ["api.openai.com", "api.anthropic.com", "my-resource.openai.azure.com", "bedrock-runtime.eu-west-1.amazonaws.com"]
)
async def test_a_strict_client_accepts_the_proxys_certificates(house: Any, host: str) -> None:
    reader, writer = await asyncio.open_connection(*house.proxy.forward_address)
    writer.write(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")

    await writer.start_tls(strict(house.authority), server_hostname=host)

    assert ("DNS", host) in writer.get_extra_info("peercert")["subjectAltName"]
    writer.close()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
async def test_a_strict_client_accepts_the_base_url_doors_certificates(house: Any, name: str) -> None:
    context = strict(house.authority)

    _, writer = await asyncio.open_connection(*house.proxy.base_url_address, ssl=context, server_hostname=name)

    assert writer.get_extra_info("peercert")
    writer.close()
