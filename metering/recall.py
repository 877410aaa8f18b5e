"""Calls as the ledger's rows tell them again: all but what stood in the prompt, which is not kept."""

from metering.call import Call, Caller, Consumption, Door, Endpoint
from metering.ledger_rows import LedgerRow
from metering.providers.catalog import PROVIDERS, compatible, provider_of_host, route
from metering.reading import Source

_ANSWERED = {Source.UNMETERED.value: Consumption.UNREAD, Source.DEFERRED.value: Consumption.METERED}


def call_of(row: LedgerRow) -> Call:
    """Return the call of a row. Its prompt and its tools are empty, its caps unknown: who judges by these must know that they are not."""
    return Call(
        id=row.id,
        started_at=row.started_at,
        door=Door(row.door),
        provider=row.provider,
        service=row.service,
        operation=row.operation,
        endpoint=Endpoint(row.endpoint),
        wire_format=row.wire_format,
        consumption=_consumption(row),
        method=row.method,
        host=row.host,
        path=row.path,
        model=row.request_model,
        streamed=row.streamed,
        caller=Caller(user=row.user, department=row.department, service=None, agent=row.agent, key_id=row.key_id),
        request_bytes=row.request_bytes,
    )


def _consumption(row: LedgerRow) -> Consumption:
    """Return whether the call could cost anything: as its outcome tells where it does, else by its method and path."""
    if row.source in _ANSWERED:
        return _ANSWERED[row.source]
    named = (known for known in PROVIDERS if known.id == row.provider)
    provider = provider_of_host(row.host) or next(named, None) or compatible(row.host)
    found = route(provider, row.method, row.path).consumption
    return Consumption.METERED if row.wire_format is not None and found is not Consumption.RESULT else found
