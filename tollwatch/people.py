"""The commands on people, as the running gateway (or the command itself, when none runs) carries them out."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from alerting.lockout import Lockouts, Who
from proxy.client_authority import FOLDER, ClientAuthority, Issued
from proxy.client_certificates import ClientRegister
from proxy.peers import ClientCertificates
from tollwatch.config import Config
from tollwatch.control import Command
from tollwatch.store import now

_LONGEST_NAME = 200
_LONGEST_REASON = 300


def client_certificates(config: Config, register: ClientRegister) -> ClientCertificates | None:
    """Return what checks client certificates, or None where the config asks for none. Raises CaError or CaModesError."""
    if config.proxy.client_certificates == "off":
        return None
    authority = ClientAuthority.open_or_create(config.data_dir / FOLDER)
    return ClientCertificates(authority, register, required=config.proxy.client_certificates == "required", now=now)


def people_commands(lockouts: Lockouts, register: ClientRegister) -> Mapping[str, Command]:
    """Return the commands by their names."""

    async def lock(given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        reason = str(given["reason"]).strip()
        if not reason or len(reason) > _LONGEST_REASON or not reason.isprintable():
            raise ValueError(f"--reason is one line of 1 to {_LONGEST_REASON} characters, not {reason[:50]!r}")
        return (await lockouts.lock(_who(given), actor=given["actor"], reason=reason)).as_json()

    async def unlock(given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        who = _who(given)
        if not await lockouts.unlock(who, actor=given["actor"]):
            raise ValueError(f"The {who} is not locked out; `tollwatch users ls` shows who is")
        return {"released": who.name}

    async def record(given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        issued = Issued(
            serial=given["serial"],
            field=given["field"],
            name=given["name"],
            sha256=given["sha256"],
            issued_at=datetime.fromisoformat(given["issued_at"]),
            not_after=datetime.fromisoformat(given["not_after"]),
        )
        await register.record(issued, actor=given["actor"])
        return {"recorded": issued.serial}

    async def revoke(given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        return [{"serial": one.serial, "name": one.name} for one in await register.revoke(given["key"], actor=given["actor"])]

    return {"users.lock": lock, "users.unlock": unlock, "certificates.record": record, "certificates.revoke": revoke}


def _who(given: Mapping[str, Any]) -> Who:
    name = str(given["name"])
    if given.get("key"):
        if len(name) != 16 or not set(name) <= set("0123456789abcdef"):
            raise ValueError(f"{name[:50]!r} is no fingerprint of a key: `tollwatch calls show ID` shows it as key_id, 16 hex digits")
        return Who("key_id", name)
    if not name.strip() or name != name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise ValueError(f"{name[:50]!r} is no user's name: 1 to {_LONGEST_NAME} printable characters without spaces around them")
    return Who("user", name)
