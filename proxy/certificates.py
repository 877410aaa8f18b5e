"""The certificates themselves: an authority that can sign for few names only, and leaves under it."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALIDITY = timedelta(days=365)
BACKDATED = timedelta(days=1)
"""Clocks of clients may be behind."""

OWN_NAMES = ("localhost", "tollwatch.invalid")
_PRIVATE_SUFFIXES = frozenset(
    {"corp", "example", "home", "internal", "intranet", "invalid", "lan", "local", "localhost", "private", "test"}
)


def permitted_suffixes(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return the DNS suffixes that cover these host globs, as narrow as a name constraint can be, without those that others cover.

    Raises ValueError for a glob that would permit a whole public top-level domain. Addresses have no name, and are left out.
    """
    suffixes = {suffix for pattern in (*patterns, *OWN_NAMES) if (suffix := _suffix(pattern))}
    return tuple(sorted(suffix for suffix in suffixes if not any(suffix.endswith(f".{other}") for other in suffixes)))


def _suffix(pattern: str) -> str | None:
    pattern = pattern.lower().rstrip(".")
    if _is_address(pattern):
        return None
    head, star, tail = pattern.rpartition("*")
    if not star:
        return pattern
    suffix = tail.partition(".")[2]
    if "." not in suffix and suffix not in _PRIVATE_SUFFIXES:
        raise ValueError(
            f"The host pattern {head + star + tail!r} is too wide: the certificate authority would be trusted for "
            f"{'.' + suffix if suffix else 'every name'}; write the domain out in proxy.intercept_hosts, for example '*.example.com'"
        )
    return suffix


def _is_address(text: str) -> bool:
    try:
        ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def new_authority(key: ec.EllipticCurvePrivateKey, *, suffixes: Sequence[str], label: str, now: datetime) -> x509.Certificate:
    """Return a self-signed authority for these suffixes, this machine's loopback addresses and nothing else, for less than a year."""
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"tollwatch CA {label}"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "tollwatch")]
    )
    loopback = (IPv4Network("127.0.0.1/32"), IPv6Network("::1/128"))
    permitted: list[x509.GeneralName] = [*map(x509.DNSName, suffixes), *(x509.IPAddress(network) for network in loopback)]
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now - BACKDATED + VALIDITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def new_leaf(
    key: ec.EllipticCurvePrivateKey,
    *,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    names: Sequence[str | IPv4Address | IPv6Address],
    now: datetime,
) -> x509.Certificate:
    """Return a server certificate for `names` that ends with its authority."""
    subject_names = [x509.DNSName(name) if isinstance(name, str) else x509.IPAddress(name) for name in names]
    issuer_key_id = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tollwatch")]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(authority.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(subject_names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key_id), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def suffixes_of(certificate: x509.Certificate) -> frozenset[str]:
    """Return the DNS suffixes that an authority may sign for."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(name.value for name in constraints.permitted_subtrees or () if isinstance(name, x509.DNSName))


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Return what the key of an authority, or of any other, may be used for."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
