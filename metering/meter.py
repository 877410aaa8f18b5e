"""What a call will cost at most, and what it has cost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from metering.call import Call, Consumption, Ending, Endpoint, Reply
from metering.interval import least_usage, most_usage
from metering.jobs import Jobs
from metering.marks import regional_mark
from metering.prices import PriceBook
from metering.providers import FORMATS, HEADERED, ReplyReader
from metering.providers.asked import AskedReader
from metering.quote import NO_COST, Quote, fixed, quoted
from metering.reading import Reading, ReplyFacts, Source
from metering.settings import MeteringSettings
from metering.tokens import TokenCounter
from metering.usage import NO_USAGE, Usage

_READ = frozenset({Consumption.METERED, Consumption.RESULT})
_UNSENT = frozenset({Ending.REFUSED, Ending.FAILED, Ending.UPSTREAM_UNREACHABLE})
"""Endings of calls that no provider has seen."""

_TO_THE_POINT = frozenset({Source.PROVIDER_REPORTED, Source.NONE, Source.UNMETERED})

_ROUTERS = frozenset({"openrouter", "vercel"})

_MOST_FALLBACKS = 16
"""Models of a request that its bound looks at; providers take fewer."""

_MEDIA = frozenset({Endpoint.IMAGES, Endpoint.AUDIO})


_LONGEST_CONTEXT = 2_000_000
"""Tokens; no model reads more, however large the pictures or films are that come with a prompt."""


class Meter:
    """Puts a usage and a price on calls. It keeps nothing but the ids of results that were counted."""

    def __init__(self, prices: PriceBook, counter: TokenCounter, settings: MeteringSettings) -> None:
        self._jobs = Jobs()
        self._prices = prices
        self._counter = counter
        self._settings = settings

    def remember(self, jobs: Iterable[tuple[str, str]]) -> None:
        """Take the results that were charged before this process began (provider and id, the oldest first)."""
        self._jobs.remember((provider, each) for provider, job in jobs for each in job.split(","))

    def reader(self, call: Call, *, content_type: str | None, headers: Mapping[str, str] | None = None) -> ReplyReader | None:
        """Return a reader for the answer (`headers` by lower-case name), or None for a call whose format is not read."""
        name = call.wire_format
        if name is None or call.consumption not in _READ:
            return None
        if headers is not None and (headered := HEADERED.get(name)):
            return headered.reader_with(provider=call.provider, content_type=content_type, headers=headers)
        wire = FORMATS.get(name)
        if wire is None:
            return None
        reader = wire.reader(provider=call.provider, content_type=content_type)
        return reader if self._fixed(call) is None else AskedReader(reader, call.asked)

    def _fixed(self, call: Call) -> int | None:
        """Return what a call costs by its request alone, in nano-dollars; None where that does not tell (nearly always)."""
        if call.asked is NO_USAGE:
            return None
        price = self._prices.price(
            provider=call.provider,
            model=call.model,
            usage=call.asked,
            at=call.started_at,
            service_tier=call.service_tier,
            variant=call.variant,
            mark=regional_mark(call, call.model),
        )
        return None if price is None else price.cost_nano

    def quote(self, call: Call, *, input_tokens: int) -> Quote:
        """Return the bound that a hold needs: all input at its dearest class, and the output cap of every choice.

        Of a format that is not read nothing is known: each byte is taken for a token, at the dearest price of the provider.
        """
        assumed = self._settings.assume_output_tokens
        if call.consumption is Consumption.UNREAD and call.wire_format is None:
            rates = self._prices.dearest_of(call.provider)
            return quoted(rates, input_tokens=min(call.request_bytes, _LONGEST_CONTEXT), output_tokens=assumed, priced=False)
        if call.consumption is not Consumption.METERED:
            return NO_COST
        if (known := self._fixed(call)) is not None:
            return quoted(fixed(known), input_tokens=input_tokens, output_tokens=0, priced=True)
        cap = assumed if call.max_output_tokens is None else call.max_output_tokens
        output_tokens = 0 if call.endpoint is Endpoint.EMBEDDINGS else cap * call.choices
        quote = self._dearest(call, input_tokens=input_tokens, output_tokens=output_tokens)
        for model in call.models[:_MOST_FALLBACKS]:
            other = self._dearest(replace(call, model=model), input_tokens=input_tokens, output_tokens=output_tokens)
            quote = max(quote, other, key=lambda each: each.cost_nano)
        return quote

    def _dearest(self, call: Call, *, input_tokens: int, output_tokens: int) -> Quote:
        """Return what a usage costs when each of its tokens is of the dearest class."""
        rates = self._prices.dearest_rates(
            provider=call.provider,
            model=call.model,
            input_tokens=input_tokens,
            at=call.started_at,
            service_tier=call.service_tier,
            media=bool(call.prompt.media) or call.endpoint in _MEDIA,
            mark=regional_mark(call, call.model),
        )
        if rates is None:
            return quoted(self._prices.dearest_of(call.provider), input_tokens=input_tokens, output_tokens=output_tokens, priced=False)
        return quoted(rates, input_tokens=input_tokens, output_tokens=output_tokens, priced=True)

    def read(self, call: Call, reply: Reply, facts: ReplyFacts | None, *, input_tokens: int | None = None) -> Reading:
        """Return the usage and cost of an ended call. `input_tokens` is the exact count of the prompt, where it was taken."""
        reading = self._point(call, reply, facts, input_tokens)
        if reading.source is Source.PROVIDER_REPORTED and facts is not None and facts.also is not None:
            return self._either(call, facts, facts.also, reading)
        if reading.source in _TO_THE_POINT:
            return reading
        facts = facts or ReplyFacts()
        if reading.source is Source.DEFERRED:  # its stream broke off: the work goes on, whether its result is fetched or not
            return replace(self._between(call, reply, facts, reading), floor_nano=0) if call.streamed else reading
        if reading.source is Source.PROVIDER_PRICED:
            return replace(reading, our_cost_nano=self._priced(call, facts, reading.usage, reading.source).cost_nano)
        return self._between(call, reply, facts, reading)

    def _either(self, call: Call, facts: ReplyFacts, also: Usage, reading: Reading) -> Reading:
        """Let a reading span what two places of an answer say."""
        costs = [cost for cost in (reading.cost_nano, self._priced(call, facts, also, reading.source).cost_nano) if cost is not None]
        return replace(reading, floor_nano=min(costs), ceiling_nano=max(costs)) if costs else reading

    def _between(self, call: Call, reply: Reply, facts: ReplyFacts, reading: Reading) -> Reading:
        """Add the least and the most to a reading that is no certainty."""
        bounds = [self._most(replace(call, model=name), facts) for name in _answering(call, facts)]
        most = max(bound for bound, priced in bounds if priced or not any(named for _bound, named in bounds))
        point = reading.cost_nano
        if reading.source is Source.UNPRICED:
            return replace(reading, ceiling_nano=most)
        counted = self._counter.estimate_input(call.prompt, model=call.model, provider=call.provider)
        answered = reply.status is not None and reply.status < 300
        least = least_usage(call, facts, answered=answered, input_tokens=counted, counter=self._counter)
        floor = self._priced(call, facts, least, reading.source).cost_nano or 0
        if facts.reported_cost_nano is not None:
            floor = facts.reported_cost_nano
        ceiling = max(most, floor, point or 0)
        return replace(reading, floor_nano=floor if point is None else min(floor, point), ceiling_nano=ceiling)

    def _most(self, call: Call, facts: ReplyFacts) -> tuple[int, bool]:
        """Return what the call can have cost at most on its model, and whether that has a price.

        A route that is free may fall back to one that is not.
        """
        bound = self._counter.bound(call.prompt, model=call.model, provider=call.provider, tools=len(call.tools))
        usage = most_usage(call, facts, input_bound=bound, output_cap=self.quote(call, input_tokens=bound).output_tokens)
        known = facts.usage is not None and facts.usage.input_tokens is not None and not call.prompt.server_tools
        read, written = usage.input_tokens or 0, usage.output_tokens or 0
        dearest = self._dearest(call, input_tokens=read, output_tokens=written)
        if dearest.cost_nano == 0 and call.provider in _ROUTERS:
            return self._prices.dearest_of(call.provider).cost(input_tokens=read, output_tokens=written), False
        priced = self._priced(call, facts, usage, Source.ESTIMATED).cost_nano if known else None
        return dearest.cost_nano if priced is None else priced, dearest.priced

    def _point(self, call: Call, reply: Reply, facts: ReplyFacts | None, input_tokens: int | None) -> Reading:
        if _consumed_nothing(call, reply):
            return Reading(source=Source.NONE, model=facts.model if facts else None)
        if call.consumption is Consumption.UNREAD or facts is None:
            return _unread(call, reply)
        if facts.results:
            return self._page(call, reply, facts)
        if (ordered := self._ordered(call, facts)) is not None:
            return ordered
        if facts.usage is not None and facts.usage.is_empty:
            return Reading(source=Source.NONE, model=facts.model)  # blocked before the model saw it (Model Armor)
        charged, job = self._charged(call, reply, facts, input_tokens), _job(call, facts)
        return charged if job is None else replace(charged, job=job)

    def _charged(self, call: Call, reply: Reply, facts: ReplyFacts, input_tokens: int | None) -> Reading:
        """Return the reading of an answer that costs something: as reported where it is, else as estimated where it can be."""
        if facts.reported_cost_nano is not None:
            priced = _provider_priced(facts, facts.reported_cost_nano)
            return replace(priced, source=Source.ESTIMATED) if _is_running(facts, reply) else priced
        if facts.usage is not None and not _is_partial(facts):
            running = facts.usage.output_tokens is not None and _is_running(facts, reply)
            return self._priced(call, facts, facts.usage, Source.ESTIMATED if running else Source.PROVIDER_REPORTED)
        if facts.usage is None and not facts.output_text and (facts.unseen or not facts.complete or facts.error):
            return Reading(source=Source.NONE if facts.error else Source.BILLED_UNSEEN, model=facts.model)
        return self._estimated(call, facts, input_tokens)

    def _page(self, call: Call, reply: Reply, facts: ReplyFacts) -> Reading:
        """Return what the answers on a page of results cost that were not seen before."""
        fresh = [result for result in facts.results if self._jobs.count(call.provider, result.id)]
        if not fresh:
            return Reading(source=Source.NONE, model=facts.model)
        models: dict[str | None, Usage] = {}
        for result in fresh:
            models[result.model] = models.get(result.model, NO_USAGE) + result.usage
        (model, usage), *others = models.items()
        usage += Usage(other_models=tuple((name or "", more) for name, more in others))
        costs = [result.cost_nano for result in fresh if result.cost_nano is not None]
        whole = sum(costs) if len(costs) == len(fresh) else None
        charged = self._charged(call, reply, replace(facts, usage=usage, model=model, reported_cost_nano=whole), None)
        return replace(charged, job=",".join(result.id for result in fresh))

    def _ordered(self, call: Call, facts: ReplyFacts) -> Reading | None:
        """Return the reading of work whose result comes later, or was counted before; None for a call that is charged now."""
        if facts.usage is None and facts.reported_cost_nano is None:
            if call.consumption is Consumption.RESULT:
                return Reading(source=Source.NONE, model=facts.model)
            return Reading(source=Source.DEFERRED, model=facts.model, cost_nano=0) if facts.deferred else None
        fetched = call.consumption is Consumption.RESULT
        job = _job(call, facts)
        if job is None or self._jobs.count(call.provider, job) or not fetched:
            return None
        return Reading(source=Source.NONE, model=facts.model)

    def _estimated(self, call: Call, facts: ReplyFacts, input_tokens: int | None) -> Reading:
        """Price what was seen: the input as reported or counted, the output by its visible text."""
        model = facts.model or call.model
        known = facts.usage or NO_USAGE
        seen = self._counter.estimate_output(facts.output_text, model=model, provider=call.provider)
        usage = replace(known, output_tokens=max(seen, known.output_tokens or 0))
        if usage.input_tokens is None:
            named = call.model or model  # what is learned of a model goes by the name that was asked for
            counted = (
                self._counter.estimate_input(call.prompt, model=named, provider=call.provider) if input_tokens is None else input_tokens
            )
            usage = replace(usage, input_tokens=counted)
        return self._priced(call, facts, usage, Source.ESTIMATED)

    def _priced(self, call: Call, facts: ReplyFacts, usage: Usage, source: Source) -> Reading:
        tier = facts.service_tier or call.service_tier
        model = facts.model or call.model
        for name in _names(call, model):
            mark = regional_mark(call, name, facts.variant)
            price = self._prices.price(
                provider=call.provider,
                model=name,
                usage=usage.charged,
                at=call.started_at,
                service_tier=tier,
                variant=facts.variant or call.variant,
                mark=mark,
            )
            if price is not None:
                return Reading(
                    source=source,
                    usage=usage,
                    model=model,
                    cost_nano=price.cost_nano,
                    price_source=price.source,
                    price_version=price.version,
                )
        return Reading(source=Source.UNPRICED, usage=usage, model=model)


def _job(call: Call, facts: ReplyFacts) -> str | None:
    """Return by which id a result can be fetched again; where the answer does not tell, the path does."""
    return facts.job or (call.path if call.consumption is Consumption.RESULT else None)


def _answering(call: Call, facts: ReplyFacts) -> set[str | None]:
    """Return the models that may have answered: the one that the answer names, or all that were asked for."""
    return {call.model, facts.model} if facts.model else {call.model, *call.models[:_MOST_FALLBACKS]}


def _names(call: Call, model: str | None) -> Sequence[str | None]:
    """Return the names to look for a price by. On Bedrock the path tells the region of a price (`us.`, `global.`), the answer does not."""
    if model == call.model:
        return (model,)
    return (call.model, model) if call.provider == "aws.bedrock" else (model, call.model)


def _consumed_nothing(call: Call, reply: Reply) -> bool:
    if call.consumption is Consumption.FREE or reply.ending in _UNSENT or not reply.sent:
        return True
    return reply.status is not None and reply.status >= 400


def _unread(call: Call, reply: Reply) -> Reading:
    """Return the reading of a call without facts: a format that is not read, or an answer that never began."""
    if call.consumption is Consumption.UNREAD:
        return Reading(source=Source.UNMETERED)
    if call.consumption is Consumption.RESULT:
        return Reading(source=Source.NONE)
    return Reading(source=Source.BILLED_UNSEEN if reply.status is None or reply.status < 300 else Source.NONE)


def _is_partial(facts: ReplyFacts) -> bool:
    """Whether the output is still unknown: a stream that broke off after its start. A complete answer may have none (embeddings)."""
    return not facts.complete and facts.usage is not None and (facts.running or facts.usage.output_tokens is None)


def _is_running(facts: ReplyFacts, reply: Reply) -> bool:
    """Whether the counts may be those of an answer that had not come to its end when it broke off (Gemini counts in every event)."""
    return not facts.complete and reply.ending is not Ending.COMPLETED


def _provider_priced(facts: ReplyFacts, cost_nano: int) -> Reading:
    return Reading(
        source=Source.PROVIDER_PRICED,
        usage=facts.usage or NO_USAGE,
        model=facts.model,
        cost_nano=cost_nano,
        price_source="provider",
    )
