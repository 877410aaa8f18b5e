"""What a config makes of the shipped tricks: each is read and judged as the gateway would, and none of them is sent."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from alerting import parts
from alerting.finding import Action
from alerting.policy import Decision, Policy
from alerting.rule import Unknown
from alerting.rule_settings import RuleSettings
from metering.call import Call, Consumption, Door
from metering.providers.catalog import provider_of_host
from metering.tokens import TokenCounter
from proxy import canonical
from proxy.base_url_door import BaseUrlDoor
from proxy.calls import call_of, too_large
from proxy.canonical import Canonical
from proxy.chain_hosts import ChainHosts
from proxy.forward_door import authority_host
from proxy.identity import Identity
from proxy.raw import RawRequest, headers_of
from proxy.refusal import Answer
from tollwatch.config import Config
from tollwatch.control import Command
from tollwatch.store import now
from tollwatch.tricks import FORBIDDEN, Trick

IN_FORCE: Final = "selftest.in_force"
"""The command that tells which rules and which mode a running gateway judges by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """What calls are judged by."""

    config: Config
    rules: Sequence[RuleSettings]
    mode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one trick. `why` says what caught it, or why it would have been sent."""

    trick: Trick
    caught: bool
    why: str


def in_force_commands(rules: Callable[[], Sequence[RuleSettings]], mode: Callable[[], str]) -> dict[str, Command]:
    """Return what the running gateway answers to a selftest."""

    async def answer(_given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        return {"mode": mode(), "rules": [rule.model_dump(mode="json", by_alias=True, exclude_none=True) for rule in rules()]}

    return {IN_FORCE: answer}


async def run(in_force: InForce, tried: Iterable[Trick]) -> list[Outcome]:
    """Judge each trick. The rules about what is forbidden in them stand beside those in force, at the usual priority."""
    bench = _Bench(in_force)
    return [await bench.judge(trick) for trick in tried]


class _Bench:
    """The reading and the rules of a gateway, without its doors, its store and its alerts."""

    def __init__(self, in_force: InForce) -> None:
        config = in_force.config
        self._proxy = config.proxy
        self._rules = _Rules([*in_force.rules, *FORBIDDEN])
        self._identity = Identity(config.identity, users=config.users, services=config.services, key_hasher=lambda _key: "selftest")
        self._chains = ChainHosts(config.proxy.chain_hosts)
        self._door = BaseUrlDoor(upstreams=config.proxy.upstreams, hosts=(), chains=self._chains)

    async def judge(self, trick: Trick) -> Outcome:
        """Say what a gateway would do with a trick."""
        raw = self._raw(trick)
        if isinstance(raw, str):
            return Outcome(trick=trick, caught=True, why=raw)
        meaning = self._meaning(raw)
        if meaning.rejected is not None:
            return Outcome(trick=trick, caught=True, why=f"{meaning.rejected.refusal.value}: {meaning.rejected.message}")
        call = call_of(raw, meaning, identity=self._identity, at=now(), request_bytes=len(raw.body))
        decision = await self._rules.decide(call)
        if decision.action is Action.BLOCK:
            return Outcome(trick=trick, caught=True, why=decision.reason)
        if call.consumption is not Consumption.UNREAD:
            return Outcome(trick=trick, caught=False, why=decision.reason)
        refuses = self._proxy.unknown_formats == "refuse"
        return Outcome(
            trick=trick, caught=refuses, why=f"The format is not read, and proxy.unknown_formats is {self._proxy.unknown_formats!r}."
        )

    def _raw(self, trick: Trick) -> RawRequest | str:
        """Return the request as the doors hand it on, or why they do not."""
        fields = (("host", trick.authority), *trick.headers)
        headers, repeated = headers_of(tuple((name.lower().encode(), value.encode("utf-8")) for name, value in fields))
        host, path = trick.connect, trick.path
        names: tuple[str, ...] = (trick.connect, trick.sni, authority_host(trick.authority.encode()))
        provider = self._chains.provider(host) or provider_of_host(host, self._proxy.decrypted_hosts)
        if trick.door == Door.BASE_URL:
            found = self._door.answer(trick.method, path, headers)
            if isinstance(found, Answer):
                return f"answered {found.status} at the base-URL door"
            host, path, names, provider = found.host, found.path, (), found.target.provider
        if provider is None:
            return f"destination: CONNECT names {host}, which is no AI provider, while the TLS handshake names one"
        return RawRequest(
            door=Door(trick.door),
            provider=provider,
            method=trick.method,
            host=host,
            path=path,
            names=names,
            headers=headers,
            repeated=repeated,
            body=trick.body,
        )

    def _meaning(self, raw: RawRequest) -> Canonical:
        route = canonical.route_of(raw.provider, raw.method, raw.path, raw.headers)
        limits, json = self._proxy.body_limits, canonical.takes_json(route)
        limit = limits.json_ if json else limits.upload
        if len(raw.body) > limit:
            return Canonical(route=route, facts=None, rejected=too_large(limit, uploads=not json))
        return canonical.canonicalise(raw, cap=limits.json_)


class _Rules:
    """The part of the gate that looks at what a call asks for; it keeps nothing and counts nothing."""

    def __init__(self, rules: Sequence[RuleSettings]) -> None:
        self._policy = Policy(rules)
        self._counter = TokenCounter()

    async def decide(self, call: Call) -> Decision:
        """Return what the rules say of a call and of all it holds: the first block, else what they say of the call itself."""
        first = await self._decide(call)
        for each in () if first.action is Action.BLOCK else parts.calls(call):
            decision = await self._decide(each)
            if decision.action is Action.BLOCK:
                return decision
        return first

    async def _decide(self, call: Call) -> Decision:
        tokens, exact, scan = self._counter.bound(call.prompt, model=call.model, provider=call.provider), False, None
        decision = self._policy.decide(call, tokens=tokens)
        while decision.unknown is not None:
            if decision.unknown is Unknown.TOKENS:
                tokens, exact = await self._counter.count(call.prompt, model=call.model, provider=call.provider), True
            elif self._policy.scanner is not None:
                scan = self._policy.scanner.scan(call.prompt)
            decision = self._policy.decide(call, tokens=tokens, exact=exact, scan=scan)
        return decision
