"""What on this machine would reach a provider without passing the gateway (docs/clients.md)."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from metering.providers.catalog import all_host_patterns, provider_of_host

NODE_WITH_PROXY: Final = (22, 21)
"""The first Node.js that obeys NODE_USE_ENV_PROXY."""
BASE_URL_VARIABLES: Final = (
    "OPENAI_BASE_URL",
    "OPENAI_API_BASE",
    "ANTHROPIC_BASE_URL",
    "AZURE_OPENAI_ENDPOINT",
    "GROQ_BASE_URL",
    "GOOGLE_GEMINI_BASE_URL",
    "CO_API_URL",
    "OLLAMA_HOST",
    "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})  # noqa: S104  # recognised, not bound
_OWN_PROXY_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Bypass:
    """One way past the gateway, and how to close it."""

    what: str
    why: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What is looked at; a test gives another."""

    environ: Mapping[str, str]
    folder: Path
    find: Callable[[str], str | None] = shutil.which


def bypasses(machine: Machine, *, doors: frozenset[str], intercepted: tuple[str, ...] = ()) -> Iterator[Bypass]:
    """Yield each. `doors` are the host:port of the gateway's own doors."""
    yield from _programs(machine)
    yield from _libraries(machine)
    yield from _exceptions(machine.environ)
    yield from _base_urls(machine.environ, doors, intercepted)
    yield from _other_proxy(machine.environ, doors)


def node_version(program: str) -> tuple[int, int] | None:
    """Return the major and minor version of a Node.js, None when it does not say."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=_OWN_PROXY_SECONDS, check=False)  # noqa: S603  # the user's own node
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"v(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else None


def _programs(machine: Machine) -> Iterator[Bypass]:
    if node := machine.find("node"):
        version = node_version(node)
        if version is None or version < NODE_WITH_PROXY:
            shown = ".".join(map(str, version)) if version else "of unknown version"
            yield Bypass(
                what=f"Node.js {shown} ({node})",
                why="it ignores HTTPS_PROXY whatever is set",
                remedy="use Node.js 22.21 or newer, or point its SDKs at the base-URL door: tollwatch exec --base-url",
            )
    if java := machine.find("java"):
        yield Bypass(what=f"Java ({java})", why="it ignores the proxy variables", remedy="tollwatch exec --java")
    if codex := machine.find("codex"):
        yield Bypass(
            what=f"Codex ({codex})",
            why="it ignores OPENAI_BASE_URL; through the forward door it is metered",
            remedy="start it by tollwatch exec; for the base-URL door: codex -c openai_base_url=…",
        )
    if dotnet := machine.find("dotnet"):
        yield Bypass(
            what=f".NET ({dotnet})",
            why="its OpenAI SDK reads no base URL from the environment, and outside Linux it trusts the system's store only",
            remedy="start it by tollwatch exec; on macOS and Windows also: tollwatch ca install",
        )


def _libraries(machine: Machine) -> Iterator[Bypass]:
    if (machine.folder / "node_modules" / "@aws-sdk" / "client-bedrock-runtime").is_dir():
        yield Bypass(
            what="@aws-sdk/client-bedrock-runtime in ./node_modules",
            why="it ignores every proxy variable",
            remedy="tollwatch exec --bedrock-node, with a Bedrock API key",
        )
    homes = [Path(home) for home in (machine.environ.get("VIRTUAL_ENV"), machine.folder / ".venv") if home]
    if any(next(home.glob("lib/python*/site-packages/aiohttp"), None) for home in homes):
        yield Bypass(
            what="aiohttp in the Python environment",
            why="a plain aiohttp.ClientSession ignores the proxy variables",
            remedy="aiohttp.ClientSession(trust_env=True); the official SDKs do so themselves",
        )


def _exceptions(environ: Mapping[str, str]) -> Iterator[Bypass]:
    hosts = [pattern.removeprefix("*.") for pattern in all_host_patterns()]
    for name in ("NO_PROXY", "no_proxy"):
        for entry in filter(None, (part.strip() for part in environ.get(name, "").split(","))):
            suffix = entry.lstrip("*.").partition(":")[0].lower()
            past = [host for host in hosts if entry == "*" or (suffix and (host == suffix or host.endswith(f".{suffix}")))]
            if past:
                yield Bypass(
                    what=f"{name} contains {entry!r}",
                    why=f"calls to {past[0]} go past the proxy",
                    remedy=f"take {entry!r} out of {name}",
                )


def _base_urls(environ: Mapping[str, str], doors: frozenset[str], intercepted: tuple[str, ...]) -> Iterator[Bypass]:
    for name in BASE_URL_VARIABLES:
        value = environ.get(name, "")
        parts = urlsplit(value if "//" in value else f"//{value}")
        host = parts.hostname
        if not host or parts.netloc.rpartition("@")[2].replace("localhost", "127.0.0.1") in doors:
            continue
        if host in _LOOPBACK:
            yield Bypass(
                what=f"{name} points at {host}",
                why="loopback addresses go past the proxy",
                remedy="name it under proxy.upstreams and point the variable at the base-URL door",
            )
        elif provider_of_host(host, intercepted) is None:
            yield Bypass(
                what=f"{name} points at {host}",
                why="it is no provider that the gateway knows, so its calls are tunnelled unread",
                remedy=f"add {host} to proxy.intercept_hosts",
            )


def _other_proxy(environ: Mapping[str, str], doors: frozenset[str]) -> Iterator[Bypass]:
    for name in ("HTTPS_PROXY", "https_proxy"):
        address = urlsplit(environ.get(name, "")).netloc.rpartition("@")[2]
        if address and address not in doors:
            yield Bypass(
                what=f"{name} names another proxy ({address})",
                why="tollwatch exec replaces it for its command",
                remedy="set proxy.upstream_proxy to it, so that the gateway goes through it",
            )
            return
