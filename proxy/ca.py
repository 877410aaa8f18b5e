"""The certificate authority of this machine: made here, kept 0600, trusted for the provider hosts only."""

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from metering.providers.catalog import all_host_patterns
from proxy import certificates, secret_files
from proxy.secret_files import CaModesError

KEY_FILE = "mitmproxy-ca.pem"
"""The name that mitmproxy looks for in its folder: key and certificate."""
CERTIFICATE_FILE = "ca.pem"
API_FILE = "api.pem"
RENEW_AFTER = 0.8
"""The share of its life after which an authority is renewed."""


class CaError(Exception):
    """The authority cannot be used. The message says why, and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaFacts:
    """What `ca show` prints."""

    subject: str
    fingerprint: str
    """SHA-256, upper-case hex with colons."""
    not_before: datetime
    not_after: datetime
    hosts: tuple[str, ...]
    path: Path


class CertificateAuthority:
    """One folder with one authority; `open_or_create` is the way in."""

    def __init__(self, folder: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, *, renewed: str | None = None) -> None:
        self.folder = folder
        self.certificate = certificate
        self.renewed = renewed
        """Why this certificate replaced another one while it was opened, or None: say it, and say to install it again."""
        self._key = key

    @classmethod
    def open_or_create(cls, folder: Path, hosts: Sequence[str] = (), *, now: datetime | None = None) -> "CertificateAuthority":
        """Return the authority of `folder`; make it where there is none.

        It is trusted for the catalog's hosts and the globs of `hosts`. When those grew, or 80 % of its life is over, it is issued
        again with the same key: whoever trusts the old certificate goes on for the rest of its year, and takes the new one meanwhile.
        A new key is `rotate`. Raises CaModesError, CaError, or ValueError for a glob that is too wide.
        """
        now = now or datetime.now(UTC)
        suffixes = certificates.permitted_suffixes((*all_host_patterns(), *hosts))
        secret_files.make_folder(folder)
        check_modes(folder)
        if not (folder / KEY_FILE).exists():
            return cls._issue(folder, ec.generate_private_key(ec.SECP256R1()), suffixes, now=now)
        key, certificate = load(folder / KEY_FILE)
        if reason := _outdated(certificate, suffixes, now):
            return cls._issue(folder, key, suffixes, now=now, renewed=reason)
        if not (folder / CERTIFICATE_FILE).exists():
            secret_files.write(folder / CERTIFICATE_FILE, certificate.public_bytes(Encoding.PEM), mode=0o644)
        return cls(folder, key, certificate)

    @classmethod
    def rotate(cls, folder: Path, hosts: Sequence[str] = (), *, now: datetime | None = None) -> "CertificateAuthority":
        """Replace key and certificate; clients trust nothing of the gateway until they have the new certificate."""
        suffixes = certificates.permitted_suffixes((*all_host_patterns(), *hosts))
        secret_files.make_folder(folder)
        check_modes(folder)
        key = ec.generate_private_key(ec.SECP256R1())
        return cls._issue(folder, key, suffixes, now=now or datetime.now(UTC), renewed="it was rotated")

    @classmethod
    def _issue(
        cls, folder: Path, key: ec.EllipticCurvePrivateKey, suffixes: Sequence[str], *, now: datetime, renewed: str | None = None
    ) -> "CertificateAuthority":
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()[:8]
        certificate = certificates.new_authority(key, suffixes=suffixes, label=f"{socket.gethostname()[:40]} {identifier}", now=now)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        public = certificate.public_bytes(Encoding.PEM)
        secret_files.write(folder / KEY_FILE, private + public)
        secret_files.write(folder / CERTIFICATE_FILE, public, mode=0o644)
        return cls(folder, key, certificate, renewed=renewed)

    @property
    def certificate_pem(self) -> Path:
        """Where the certificate is that clients must trust; it holds no key."""
        return self.folder / CERTIFICATE_FILE

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, for comparing by eye."""
        return self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()

    def show(self) -> CaFacts:
        """Return what there is to know of the certificate."""
        return CaFacts(
            subject=self.certificate.subject.rfc4514_string(),
            fingerprint=self.fingerprint,
            not_before=self.certificate.not_valid_before_utc,
            not_after=self.certificate.not_valid_after_utc,
            hosts=tuple(sorted(certificates.suffixes_of(self.certificate))),
            path=self.certificate_pem,
        )

    def leaf_context(self, *, now: datetime | None = None) -> ssl.SSLContext:
        """Return a server context for localhost, 127.0.0.1 and ::1, with a new key of its own."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = ("localhost", IPv4Address("127.0.0.1"), IPv6Address("::1"))
        leaf = certificates.new_leaf(key, authority=self.certificate, authority_key=self._key, names=names, now=now or datetime.now(UTC))
        path = self.folder / API_FILE
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        secret_files.write(path, private + leaf.public_bytes(Encoding.PEM))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(path)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return a client context that trusts this authority alone."""
        return ssl.create_default_context(cadata=self.certificate.public_bytes(Encoding.PEM).decode())


def check_modes(folder: Path) -> None:
    """Raise CaModesError when the folder or a key in it is open to others; what is not there is fine."""
    for path in (folder, folder / KEY_FILE, folder / API_FILE):
        if path.is_symlink() or path.exists():
            secret_files.check(path)


def load(path: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Return the key and the certificate in one PEM file. Raises CaError."""
    data = path.read_bytes()
    try:
        key = load_pem_private_key(data, None)
        certificate = x509.load_pem_x509_certificate(data)
    except ValueError as error:
        raise CaError(
            f"Cannot read the certificate authority in {path} ({error}); remove the file to make a new one, or run: tollwatch ca rotate"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        raise CaError(f"The key and the certificate in {path} do not belong together; run: tollwatch ca rotate")
    return key, certificate


def _outdated(certificate: x509.Certificate, suffixes: Sequence[str], now: datetime) -> str | None:
    have = certificates.suffixes_of(certificate)
    missing = [suffix for suffix in suffixes if not any(suffix == known or suffix.endswith(f".{known}") for known in have)]
    if missing:
        return f"it was not trusted for {', '.join(missing)}"
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now >= begin + (end - begin) * RENEW_AFTER:
        return f"it would end at {end:%Y-%m-%d}"
    return None


__all__ = ["CaError", "CaFacts", "CaModesError", "CertificateAuthority", "check_modes"]
