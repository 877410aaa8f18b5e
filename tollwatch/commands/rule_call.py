"""The call that `rules test` puts to the rules, made of the command's options."""

from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from metering.call import Call, Caller, Consumption, Door, Endpoint, Prompt
from metering.providers.catalog import PROVIDERS
from metering.tokens import TokenCounter
from tollwatch.config import Config
from tollwatch.store import now


async def call_of(given: Namespace, config: Config) -> tuple[Call, int]:
    """Return the call and its exact number of input tokens. Raises ValueError or OSError with the remedy."""
    text = _text(given)
    provider = next((one for one in PROVIDERS if one.id == given.provider), None)
    prompt = Prompt(system=(given.system,) if given.system else (), texts=(text,) if text else (), messages=bool(text) + bool(given.system))
    call = Call(
        id="test",
        started_at=_moment(given.at),
        door=Door.FORWARD,
        provider=given.provider,
        service=given.service or (provider.name if provider else given.provider),
        operation=given.operation,
        endpoint=Endpoint(given.endpoint),
        wire_format=None,
        consumption=Consumption.METERED,
        method="POST",
        host=given.host or (provider.hosts[0] if provider and provider.hosts else ""),
        path=given.path,
        model=given.model,
        streamed=False,
        caller=Caller(
            user=given.user, department=given.department or _department(given.user, config), agent=given.agent, key_id=given.key_id
        ),
        request_bytes=len(text.encode("utf-8", "replace")) if given.bytes is None else given.bytes,
        prompt=prompt,
        tools=tuple(given.tool),
    )
    if given.tokens is not None:
        return call, cast("int", given.tokens)
    return call, await TokenCounter().count(prompt, model=call.model, provider=call.provider)


def _text(given: Namespace) -> str:
    if given.prompt_file is None:
        return given.prompt or ""
    path: Path = given.prompt_file
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"Cannot read the prompt from {path}: {error}") from error


def _moment(text: str | None) -> datetime:
    if text is None:
        return now()
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"--at {text!r} is not a time: write 2026-01-31T22:30, or with a zone 2026-01-31T22:30+01:00") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _department(user: str | None, config: Config) -> str | None:
    return next((one.department for one in config.users if one.name == user), None)
