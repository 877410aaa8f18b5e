"""What a connection itself tells of its client: the certificate it was made with, the user and the program at its other end."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# mitmproxy is typed in part only

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from cryptography import x509
from mitmproxy.connection import Client, ConnectionState

from alerting.finding import Refusal
from metering.providers.catalog import CANARY_HOST, PROBE_HOST
from proxy.canonical import Rejected
from proxy.client_authority import ClientAuthority, is_for_clients, serial_of
from proxy.client_certificates import ClientRegister
from proxy.peer import Peer
from proxy.processes import Owner

type Clock = Callable[[], datetime]
type FindOwner = Callable[[tuple[str, int], tuple[str, int]], Owner]
"""Answers for the address of the client and the one it connected to; may take long, and runs in a thread."""

_OWN_HOSTS = frozenset({CANARY_HOST, PROBE_HOST})
_NOBODY = Peer()
_ISSUE = "get one with `tollwatch ca client issue NAME`"


class ClientCertificates:
    """Checks what clients show: mitmproxy asks for a certificate and takes any."""

    def __init__(self, authority: ClientAuthority, register: ClientRegister, *, required: bool, now: Clock) -> None:
        self._authority = authority
        self._register = register
        self._required = required
        self._now = now

    def check(self, shown: x509.Certificate) -> Peer:
        """Return what a certificate proves. The handshake has shown that the client holds its key."""
        if not self._authority.has_signed(shown):
            return Peer(foreign=True)
        if not is_for_clients(shown):
            return Peer(trouble="it is not a client's")
        issued = self._register.known.get(serial_of(shown))
        if issued is None:
            return Peer(trouble="it does not stand in this gateway's list of issued certificates")
        return Peer(certificate=issued)

    def unwelcome(self, peer: Peer | None) -> Rejected | None:
        """Return why calls of this client are refused by its certificate, or None. Revoked ones are the gate's."""
        certificate = peer.certificate if peer else None
        if certificate is not None:
            if self._now() < certificate.not_after:
                return None
            why = f"The client certificate {certificate.serial} ended at {certificate.not_after:%Y-%m-%d %H:%M} UTC"
        elif peer is not None and peer.trouble is not None:
            why = f"The client certificate is not accepted: {peer.trouble}"
        elif not self._required:
            return None
        elif peer is not None and peer.foreign:
            why = "The client certificate is not accepted: another authority issued it"
        else:
            why = "The gateway asks for a client certificate (proxy.client_certificates: required), and this connection showed none"
        return Rejected(Refusal.CERTIFICATE, f"{why}; {_ISSUE}, and connect by https")


class Peers:
    """Keeps for each connection what is known of its client: found out once, forgotten with the connection."""

    def __init__(self, *, certificates: ClientCertificates | None = None, find_owner: FindOwner | None = None) -> None:
        self.active = certificates is not None or find_owner is not None
        """Whether there is anything to ask at all."""
        self._certificates = certificates
        self._find_owner = find_owner
        self._shown: dict[str, tuple[x509.Certificate, ...]] = {}
        """By connection, for those whose TLS handshake is over; of TLS within TLS to the proxy the inner one first."""
        self._peers: dict[str, Peer] = {}

    def established(self, client: Client) -> None:
        """Note the certificate of a TLS handshake that is over. There may be a second one, within TLS to the proxy."""
        if self._certificates is not None:
            shown = tuple(certificate.to_cryptography() for certificate in client.certificate_list[:1])
            self._shown[client.id] = shown + self._shown.get(client.id, ())
            self._peers.pop(client.id, None)

    def forget(self, client: Client) -> None:
        """Forget a connection that is gone."""
        self._shown.pop(client.id, None)
        self._peers.pop(client.id, None)

    def find(self, client: Client) -> Awaitable[None] | None:
        """Find out who a client is, once for its connection; what takes long is left to be awaited."""
        if client.id in self._peers:
            return None
        if self._find_owner is not None:
            return self._find_slowly(client, self._find_owner)
        self._peers[client.id] = self._by_certificate(client)
        return None

    def of(self, client: Client) -> Peer | None:
        """Return what `find` found."""
        return self._peers.get(client.id)

    def unwelcome(self, peer: Peer | None, host: str) -> Rejected | None:
        """Return why a call of this client is refused; the gateway's own probes need no certificate."""
        if self._certificates is None or host in _OWN_HOSTS:
            return None
        return self._certificates.unwelcome(peer)

    async def _find_slowly(self, client: Client, find_owner: FindOwner) -> None:
        proven = self._by_certificate(client)
        owner = await asyncio.to_thread(find_owner, client.peername[:2], client.sockname[:2])
        if client.state is not ConnectionState.CLOSED:  # else nobody would forget it
            self._peers[client.id] = replace(proven, owner=owner)

    def _by_certificate(self, client: Client) -> Peer:
        if self._certificates is None:
            return _NOBODY
        if client.tls_established and client.id not in self._shown:
            raise RuntimeError("The TLS handshake of a connection passed unseen, and with it the client's certificate")
        found = [self._certificates.check(shown) for shown in self._shown.get(client.id, ())]
        return next((peer for peer in found if not peer.foreign), found[0] if found else _NOBODY)
