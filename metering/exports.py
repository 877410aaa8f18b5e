"""Usage and cost reports of providers, as they export them: OpenAI's and Anthropic's JSON pages and CSV files, and a plain CSV."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import cast

from metering.units import NANO

type Fields = Mapping[str, object]

_DATES = ("usage_date_utc", "date", "day", "start_time_iso", "starting_at", "start_time")
_MODELS = ("model", "model_version", "line_item")
_REQUESTS = ("num_model_requests", "requests")
_OUTPUTS = ("output_tokens", "usage_output_tokens")
_COSTS = ("cost_usd", "amount_value")
_WHOLE_INPUT = "input_tokens"
_INPUT_SHARES = (
    "uncached_input_tokens",
    "cache_read_input_tokens",
    "usage_input_tokens_no_cache",
    "usage_input_tokens_cache_write_5m",
    "usage_input_tokens_cache_write_1h",
    "usage_input_tokens_cache_read",
)
"""Anthropic tells the shares of the input apart; OpenAI's `input_tokens` is their sum already."""
_CENT = NANO // 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportLine:
    """What a provider says of one day (UTC) and model; None is what its report does not tell."""

    day: date
    model: str | None
    requests: int | None = None
    input_tokens: int | None = None
    """Cache reads and writes included."""
    output_tokens: int | None = None
    cost_nano: int | None = None


@dataclass(frozen=True, slots=True)
class Export:
    """A report, and whose it is where its shape tells."""

    lines: tuple[ExportLine, ...]
    provider: str | None


def read_export(text: str) -> Export:
    """Return what a report says; ValueError tells what was expected instead."""
    text = text.removeprefix("\ufeff").strip()
    if not text:
        raise ValueError("the file is empty")
    if text[0] in "{[":
        return _pages(text)
    return _table(text)


def _pages(text: str) -> Export:
    """Read the answers of the usage and cost APIs: one page, a list of pages, or one page a line."""
    try:
        pages: list[object] = [json.loads(text)]
    except json.JSONDecodeError:
        try:
            pages = [json.loads(line) for line in text.splitlines() if line.strip()]
        except json.JSONDecodeError as error:
            raise ValueError(f"line {error.lineno} is no JSON: {error.msg}") from error
    buckets = [bucket for page in pages for bucket in _buckets(page)]
    if not buckets:
        raise ValueError("no buckets: a page of OpenAI's or Anthropic's usage or cost API has them under `data`")
    anthropic = "starting_at" in buckets[0]
    lines = tuple(_result(bucket, result, anthropic=anthropic) for bucket in buckets for result in _objects(bucket.get("results")))
    return Export(lines, "anthropic" if anthropic else "openai")


def _buckets(page: object) -> Iterator[Fields]:
    for item in _objects(cast("object", page) if isinstance(page, list) else [page]):
        if "results" in item:
            yield item
        else:
            yield from _objects(item.get("data"))


def _result(bucket: Fields, result: Fields, *, anthropic: bool) -> ExportLine:
    row = {"starting_at": bucket.get("starting_at"), "start_time": bucket.get("start_time"), **result}
    for created in _objects([result.get("cache_creation")]):
        row["uncached_input_tokens"] = sum(count or 0 for count in (_count(row, "uncached_input_tokens"), *_counts(created)))
    amount = result.get("amount")
    moneys = tuple(_objects([amount]))
    for money in moneys:
        row |= {"amount_value": money.get("value"), "currency": money.get("currency")}
    if anthropic and amount is not None and not moneys:
        row["amount_value"] = _money(amount, "amount") * _CENT / NANO  # Anthropic's cost report counts in cents
    return _line(row)


def _counts(shares: Fields) -> Iterator[int | None]:
    yield from (_count(shares, name) for name in shares)


def _table(text: str) -> Export:
    head = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), delimiter="\t" if head.count("\t") > head.count(",") else ",")  # pasted from a spreadsheet
    names = {name.strip().lower(): name for name in reader.fieldnames or ()}
    if not any(name in names for name in _DATES):
        raise ValueError(
            f"no column for the day among {', '.join(names) or 'nothing'}: use OpenAI's or Anthropic's export, "
            "or a CSV with date, model, input_tokens, output_tokens, cost_usd"
        )
    rows = ({known: row.get(given) for known, given in names.items()} for row in reader)
    provider = "anthropic" if "usage_date_utc" in names else "openai" if "start_time" in names else None
    return Export(tuple(_line(row) for row in rows), provider)


def _line(row: Fields) -> ExportLine:
    currency = row.get("currency") or row.get("amount_currency") or "usd"
    if str(currency).lower() != "usd":
        raise ValueError(f"amounts in {currency}: only US dollars can be compared")
    cost = next((value for name in _COSTS if (value := row.get(name)) not in {None, ""}), None)
    whole = _count(row, _WHOLE_INPUT)
    shares = [count for name in _INPUT_SHARES if (count := _count(row, name)) is not None]
    return ExportLine(
        day=_day(row),
        model=_model(row),
        requests=_first(row, _REQUESTS),
        input_tokens=whole if whole is not None else (sum(shares) if shares else None),
        output_tokens=_first(row, _OUTPUTS),
        cost_nano=None if cost is None else int((_money(cost, "cost") * NANO).to_integral_value()),
    )


def _model(row: Fields) -> str | None:
    """Return the model; a line item of a bill names it before a comma (`gpt-4o-2024-08-06, input`)."""
    name = next((str(value) for name in _MODELS if (value := row.get(name))), None)
    return name.split(",")[0].strip() if name else None


def _day(row: Fields) -> date:
    for name in _DATES:
        value = row.get(name)
        if value in {None, ""}:
            continue
        text = str(value).strip()
        try:
            if re.fullmatch(r"\d{9,}(\.\d+)?", text):
                return datetime.fromtimestamp(float(text), UTC).date()
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise ValueError(f"{name} {text!r} is no day") from error
        return (moment.astimezone(UTC) if moment.tzinfo else moment).date()
    raise ValueError("a line without a day")


def _first(row: Fields, names: Iterable[str]) -> int | None:
    return next((count for name in names if (count := _count(row, name)) is not None), None)


def _count(row: Fields, name: str) -> int | None:
    value = row.get(name)
    if value is None or value == "":
        return None
    return int(_money(value, name))


def _money(value: object, name: str) -> Decimal:
    try:
        number = Decimal(str(value).replace(",", "").removeprefix("$"))
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite():
        raise ValueError(f"{name} {value!r} is no number")
    return number


def _objects(value: object) -> Iterator[Fields]:
    if isinstance(value, list):
        for item in cast("list[object]", value):
            if isinstance(item, dict):
                yield cast("Fields", item)
