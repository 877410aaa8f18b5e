"""The authority for client certificates, and the list of what it issued."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.ca import CaError, CaModesError, CertificateAuthority
from proxy.client_authority import KEY_FILE, ClientAuthority, Issued, is_for_clients, serial_of
from proxy.client_certificates import ClientRegister, read
from storage.database import StoreError
from storage.sqlite import SqliteDatabase

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


def issued(authority: ClientAuthority, name: str = "ada") -> tuple[x509.Certificate, Issued]:
    handed = authority.issue(name, field="user", days=30, now=NOON)
    return x509.load_pem_x509_certificate(handed.pem), handed.issued


def test_a_certificate_is_a_clients_and_says_whose(tmp_path: Path) -> None:
    authority = ClientAuthority.open_or_create(tmp_path / "ca", now=NOON)

    certificate, kept = issued(authority, "ada lovelace@example.com")

    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert authority.has_signed(certificate)
    assert is_for_clients(certificate)
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "ada lovelace@example.com"
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["urn:tollwatch:user:ada%20lovelace%40example.com"]
    assert (kept.serial, kept.not_after) == (serial_of(certificate), NOON + timedelta(days=30))


def test_the_authority_signs_for_clients_alone_and_for_no_further_authority(tmp_path: Path) -> None:
    certificate = ClientAuthority.open_or_create(tmp_path / "ca", now=NOON).certificate

    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    assert not is_for_clients(certificate)


def test_neither_the_gateways_own_authority_nor_one_of_the_same_name_stands_in_for_it(tmp_path: Path) -> None:
    authority = ClientAuthority.open_or_create(tmp_path / "ca", now=NOON)
    other = ClientAuthority.open_or_create(tmp_path / "other", now=NOON)
    own = CertificateAuthority.open_or_create(tmp_path / "own", now=NOON)

    theirs, _ = issued(other)

    assert not authority.has_signed(theirs)
    assert not authority.has_signed(own.certificate)
    assert not is_for_clients(own.certificate)


def test_towards_its_end_it_is_renewed_and_what_it_issued_stays_good(tmp_path: Path) -> None:
    first = ClientAuthority.open_or_create(tmp_path / "ca", now=NOON)
    certificate, _ = issued(first)

    same = ClientAuthority.open_or_create(tmp_path / "ca", now=NOON + timedelta(days=2900))
    renewed = ClientAuthority.open_or_create(tmp_path / "ca", now=NOON + timedelta(days=2921))

    assert same.certificate == first.certificate
    assert renewed.certificate.not_valid_after_utc > first.certificate.not_valid_after_utc + timedelta(days=2900)
    assert renewed.has_signed(certificate)


@pytest.mark.parametrize("name", ["", " ada", "a\nb", "x" * 65])
def test_a_name_that_no_certificate_can_carry_is_refused(tmp_path: Path, name: str) -> None:
    authority = ClientAuthority.open_or_create(tmp_path / "ca", now=NOON)

    with pytest.raises(ValueError, match="cannot be a name"):
        authority.issue(name, field="user", days=1, now=NOON)


def test_a_key_that_others_can_read_or_that_is_damaged_is_not_used(tmp_path: Path) -> None:
    ClientAuthority.open_or_create(tmp_path / "ca", now=NOON)
    path = tmp_path / "ca" / KEY_FILE
    path.chmod(0o640)
    with pytest.raises(CaModesError, match="chmod 0600"):
        ClientAuthority.open_or_create(tmp_path / "ca", now=NOON)

    path.chmod(0o600)
    path.write_text("no key")
    with pytest.raises(CaError, match="must then be issued again"):
        ClientAuthority.open_or_create(tmp_path / "ca", now=NOON)


def test_of_those_that_make_it_at_once_one_counts(tmp_path: Path) -> None:
    folder = tmp_path / "ca"
    together = threading.Barrier(4)

    def make(_number: int) -> x509.Certificate:
        together.wait(60)
        return ClientAuthority.open_or_create(folder, now=NOON).certificate

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(make, range(4)))

    assert len(set(made)) == 1
    assert [path.name for path in folder.iterdir()] == [KEY_FILE]


@pytest.fixture
async def database(tmp_path: Path) -> Any:
    opened = await SqliteDatabase.open(tmp_path / "tollwatch.db")
    yield opened
    await opened.close()


async def test_what_is_recorded_and_revoked_stands_in_the_store_and_in_the_audit(tmp_path: Path, database: SqliteDatabase) -> None:
    authority = await asyncio.to_thread(ClientAuthority.open_or_create, tmp_path / "ca", now=NOON)
    register = ClientRegister(database, now=lambda: NOON)
    first, second = (issued(authority)[1] for _ in range(2))
    for one in (first, second):
        await register.record(one, actor="a")

    by_serial = await register.revoke(first.serial.upper(), actor="b")
    by_name = await register.revoke("ada", actor="c")

    again = ClientRegister(database, now=lambda: NOON)
    await again.load()
    assert (by_serial, by_name) == ([first], [second])
    assert (again.known, again.revoked) == ({first.serial: first, second.serial: second}, {first.serial, second.serial})
    assert {one.revoked_by for one in await read(database)} == {"b", "c"}
    audit = await database.read("SELECT actor, action, detail FROM audit ORDER BY seq")
    assert [*map(tuple, audit)] == [
        ("a", "client_certificate.issued", "user ada"),
        ("a", "client_certificate.issued", "user ada"),
        ("b", "client_certificate.revoked", "user ada"),
        ("c", "client_certificate.revoked", "user ada"),
    ]
    with pytest.raises(ValueError, match="revoked already"):
        await register.revoke("ada", actor="d")


async def test_a_beginning_that_two_serial_numbers_share_or_that_is_too_short_means_none(database: SqliteDatabase) -> None:
    register = ClientRegister(database, now=lambda: NOON)
    for digit in "12":
        one = Issued(serial=f"aabbccdd{digit}", field="user", name=digit, sha256="f", issued_at=NOON, not_after=NOON)
        await register.record(one, actor="a")

    with pytest.raises(ValueError, match="2 certificates begin"):
        await register.revoke("aabbccdd", actor="a")
    with pytest.raises(ValueError, match="no client certificate"):
        await register.revoke("aabb", actor="a")
    assert [one.serial for one in await register.revoke("aa:bb:cc:dd:1", actor="a")] == ["aabbccdd1"]


async def test_what_could_not_be_written_is_neither_accepted_nor_revoked(tmp_path: Path, database: SqliteDatabase) -> None:
    authority = await asyncio.to_thread(ClientAuthority.open_or_create, tmp_path / "ca", now=NOON)
    register = ClientRegister(database, now=lambda: NOON)
    first, second = (issued(authority)[1] for _ in range(2))
    await register.record(first, actor="a")
    await database.close()

    with pytest.raises(StoreError):
        await register.record(second, actor="a")
    with pytest.raises(StoreError):
        await register.revoke("ada", actor="a")

    assert (list(register.known), register.revoked) == ([first.serial], set())


@pytest.mark.parametrize(("days", "revoked", "state"), [(1, False, "valid"), (0, False, "expired"), (1, True, "revoked")])
async def test_the_list_says_how_each_stands(database: SqliteDatabase, days: int, revoked: bool, state: str) -> None:  # noqa: FBT001  # a table
    register = ClientRegister(database, now=lambda: NOON)
    one = Issued(serial="aa" * 20, field="user", name="ada", sha256="f", issued_at=NOON, not_after=NOON + timedelta(days=days))
    await register.record(one, actor="a")
    if revoked:
        await register.revoke("ada", actor="a")

    (kept,) = await read(database)

    assert kept.as_json(NOON)["state"] == state
