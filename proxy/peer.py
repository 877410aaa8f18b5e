"""Who is at the other end of a connection, as far as the connection itself tells."""

from dataclasses import dataclass

from proxy.client_authority import Issued
from proxy.processes import Owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The client of one connection; unknown is None."""

    certificate: Issued | None = None
    """The client certificate, if this gateway issued it; it may be over or revoked meanwhile."""
    trouble: str | None = None
    """Why the certificate that was shown is not good, though this gateway's authority signed it."""
    foreign: bool = False
    """Whether a certificate was shown that this gateway's authority did not sign."""
    owner: Owner | None = None
    """Who holds the client's end; None where nobody asked."""
