"""The authority for client certificates: one of its own, trusted by this gateway and by nobody else."""

import os
import secrets
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy import ca, certificates, secret_files
from proxy.ca import CaError

FOLDER = "client-ca"
KEY_FILE = "client-ca.pem"
"""Key and certificate."""
VALIDITY = timedelta(days=3650)
"""Nobody but this gateway trusts it, and nobody has to install it: a long life costs nothing, and no client is cut off by its end."""
RENEW_AFTER = 0.8
MOST_DAYS = 825
LONGEST_NAME = 64
"""Of a certificate's common name (RFC 5280)."""

type Field = Literal["user", "service"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A client certificate, as the register keeps it. `serial` is lower-case hex; `sha256` the fingerprint of the certificate."""

    serial: str
    field: Field
    name: str
    sha256: str
    issued_at: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """What its owner gets: `pem` holds the private key and the certificate, and is kept nowhere else."""

    issued: Issued
    pem: bytes


class ClientAuthority:
    """One folder with one authority; its key signs client certificates and nothing else."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self.certificate = certificate
        self._key = key

    @classmethod
    def open_or_create(cls, folder: Path, *, now: datetime | None = None) -> "ClientAuthority":
        """Return the authority of `folder`; make it where there is none. Towards its end it is issued again with the same key.

        Raises CaModesError when others could read the key, CaError when it cannot be read.
        """
        now = now or datetime.now(UTC)
        secret_files.make_folder(folder)
        secret_files.check(folder)
        path = folder / KEY_FILE
        if not path.exists() and not path.is_symlink():
            _create(path, *_made(ec.generate_private_key(ec.SECP256R1()), now=now))
        secret_files.check(path)
        key, certificate = _load(path)
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if now >= begin + (end - begin) * RENEW_AFTER:
            key, certificate = _made(key, now=now, subject=certificate.subject)
            secret_files.write(path, _pem(key, certificate))
        return cls(key, certificate)

    def issue(self, name: str, *, field: Field, days: int, now: datetime) -> Handed:
        """Return a new certificate for a user or a service, with a new key. Raises ValueError for a name or a life that it cannot have."""
        if not name or name != name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
            raise ValueError(f"{name[:80]!r} cannot be a name in a certificate: 1 to {LONGEST_NAME} printable characters, no spaces around")
        if not 1 <= days <= MOST_DAYS:
            raise ValueError(f"A client certificate is good for 1 to {MOST_DAYS} days, not {days}")
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._leaf(key, name, field=field, now=now, not_after=now + timedelta(days=days))
        issued = Issued(
            serial=serial_of(certificate),
            field=field,
            name=name,
            sha256=certificate.fingerprint(hashes.SHA256()).hex(),
            issued_at=now,
            not_after=certificate.not_valid_after_utc,
        )
        return Handed(issued=issued, pem=_pem(key, certificate))

    def has_signed(self, certificate: x509.Certificate) -> bool:
        """Whether this authority issued a certificate; its dates are another question."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def _leaf(self, key: ec.EllipticCurvePrivateKey, name: str, *, field: Field, now: datetime, not_after: datetime) -> x509.Certificate:
        issuer_id = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - certificates.BACKDATED)
            .not_valid_after(not_after)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(certificates.key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"urn:tollwatch:{field}:{quote(name)}")]), critical=False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def serial_of(certificate: x509.Certificate) -> str:
    """Return the serial number of a certificate as the register writes it."""
    return f"{certificate.serial_number:040x}"


def is_for_clients(certificate: x509.Certificate) -> bool:
    """Whether a certificate says that it is a client's and no authority."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return ExtendedKeyUsageOID.CLIENT_AUTH in usage and not constraints.ca


def _made(
    key: ec.EllipticCurvePrivateKey, *, now: datetime, subject: x509.Name | None = None
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    label = f"tollwatch client CA {socket.gethostname()[:30]} {identifier.digest.hex()[:8]}"
    name = subject or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, label)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - certificates.BACKDATED)
        .not_valid_after(now - certificates.BACKDATED + VALIDITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(certificates.key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def _pem(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)


def _create(path: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    """Write the authority; when another process was quicker, its one counts."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    secret_files.write(new, _pem(key, certificate))
    try:
        os.link(new, path)
    except FileExistsError:
        pass
    finally:
        new.unlink()


def _load(path: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    try:
        return ca.load(path)
    except CaError as error:
        raise CaError(
            f"Cannot use the authority for client certificates in {path}: the file is damaged, or key and certificate do not belong "
            "together. Restore it, or remove it to make a new one: all client certificates must then be issued again"
        ) from error
