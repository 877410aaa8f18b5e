"""Reports of providers, in the shapes that their references describe."""

import json
from datetime import date
from typing import Any

import pytest

from metering.exports import ExportLine, read_export

_DAY = date(2026, 11, 1)
_UNIX = 1793491200  # 2026-11-01T00:00:00Z


def _openai(result: dict[str, Any]) -> str:
    bucket = {"object": "bucket", "start_time": _UNIX, "end_time": _UNIX + 86400, "results": [result]}
    return json.dumps({"object": "page", "data": [bucket], "has_more": False, "next_page": None})


def _anthropic(result: dict[str, Any]) -> str:
    bucket = {"starting_at": "2026-11-01T00:00:00Z", "ending_at": "2026-11-02T00:00:00Z", "results": [result]}
    return json.dumps({"data": [bucket], "has_more": False, "next_page": None})


@pytest.mark.parametrize(
    ("text", "provider", "line"),
    [
        pytest.param(
            _openai(
                {
                    "object": "organization.usage.completions.result",
                    "input_tokens": 1000,
                    "output_tokens": 500,
                    "input_cached_tokens": 800,
                    "num_model_requests": 5,
                    "model": "gpt-4o-2024-08-06",
                }
            ),
            "openai",
            ExportLine(day=_DAY, model="gpt-4o-2024-08-06", requests=5, input_tokens=1000, output_tokens=500),
            id="openai usage",
        ),
        pytest.param(
            _openai(
                {
                    "object": "organization.costs.result",
                    "amount": {"value": 0.06, "currency": "usd"},
                    "line_item": "gpt-4o-2024-08-06, input",
                    "project_id": None,
                }
            ),
            "openai",
            ExportLine(day=_DAY, model="gpt-4o-2024-08-06", cost_nano=60_000_000),
            id="openai costs",
        ),
        pytest.param(
            _anthropic(
                {
                    "uncached_input_tokens": 1500,
                    "cache_creation": {"ephemeral_1h_input_tokens": 1000, "ephemeral_5m_input_tokens": 500},
                    "cache_read_input_tokens": 200,
                    "output_tokens": 500,
                    "server_tool_use": {"web_search_requests": 10},
                    "model": "claude-opus-4-6",
                }
            ),
            "anthropic",
            ExportLine(day=_DAY, model="claude-opus-4-6", input_tokens=3200, output_tokens=500),
            id="anthropic usage",
        ),
        pytest.param(
            _anthropic({"currency": "USD", "amount": "123.78912", "description": "Usage - Input Tokens", "model": "claude-opus-4-6"}),
            "anthropic",
            ExportLine(day=_DAY, model="claude-opus-4-6", cost_nano=1_237_891_200),
            id="anthropic cost in cents",
        ),
        pytest.param(
            "start_time,end_time,start_time_iso,end_time_iso,num_model_requests,model,input_tokens,output_tokens,input_cached_tokens\n"
            f"{_UNIX},{_UNIX + 60},2026-11-01T00:00:00+00:00,2026-11-01T00:01:00+00:00,3.0,gpt-4o,4212,1673,1280\n",
            "openai",
            ExportLine(day=_DAY, model="gpt-4o", requests=3, input_tokens=4212, output_tokens=1673),
            id="openai usage csv",
        ),
        pytest.param(
            "\ufeffusage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,"
            "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens\r\n"
            "2026-11-01,claude-opus-4-6,key,Default,standard,≤ 200k,100,10,20,30,5\r\n",
            "anthropic",
            ExportLine(day=_DAY, model="claude-opus-4-6", input_tokens=160, output_tokens=5),
            id="anthropic usage csv",
        ),
        pytest.param(
            "start_time\tend_time\tstart_time_iso\tend_time_iso\tamount_value\tamount_currency\tline_item\tproject_id\torganization_id\t"
            "organization_name\n"
            f"{_UNIX}\t{_UNIX + 86400}\t2026-11-01T00:00:00+00:00\t2026-11-02T00:00:00+00:00\t0.8958740000000000\tusd\t\t\torg-1\tMine\n",
            "openai",
            ExportLine(day=_DAY, model=None, cost_nano=895_874_000),
            id="openai costs, pasted",
        ),
        pytest.param(
            "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item\n"
            f"{_UNIX},{_UNIX + 86400},2026-11-01T00:00:00+00:00,2026-11-02T00:00:00+00:00,,,\n",
            "openai",
            ExportLine(day=_DAY, model=None),
            id="openai costs, a day without any",
        ),
        pytest.param(
            "usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,cost_type,inference_geo,speed,"
            "api_key_id,api_key_status\n"
            "2026-11-01,Claude Haiku 4.5,Default,key,message,≤ 200k,input_cache_read,0.10,1.00,token,not_available,,apikey_1,archived\n",
            "anthropic",
            ExportLine(day=_DAY, model="Claude Haiku 4.5", cost_nano=100_000_000),
            id="anthropic cost csv",
        ),
        pytest.param(
            'date,model,input_tokens,output_tokens,cost_usd\n2026-11-01,m,"1,000",5,$0.5\n',
            None,
            ExportLine(day=_DAY, model="m", input_tokens=1000, output_tokens=5, cost_nano=500_000_000),
            id="plain csv",
        ),
        pytest.param("date,cost_usd\n2026-11-01,\n", None, ExportLine(day=_DAY, model=None), id="nothing but a day"),
    ],
)
def test_a_report_is_read(text: str, provider: str | None, line: ExportLine) -> None:
    export = read_export(text)

    assert (export.provider, export.lines) == (provider, (line,))


def test_pages_may_stand_in_a_list_or_one_a_line() -> None:
    page = _openai({"object": "organization.usage.completions.result", "input_tokens": 1, "output_tokens": 2, "model": "m"})

    assert len(read_export(f"[{page},{page}]").lines) == 2
    assert len(read_export(f"{page}\n{page}\n").lines) == 2
    assert len(read_export(json.dumps(json.loads(page)["data"])).lines) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("{nonsense", "no JSON"),
        ('{"data": []}', "no buckets"),
        ("model,tokens\nm,5\n", "no column for the day"),
        ("date,cost_usd\nyesterday,5\n", "'yesterday' is no day"),
        ("date,cost_usd\n,5\n", "a line without a day"),
        ("date,cost_usd\n2026-11-01,much\n", "'much' is no number"),
        ("date,cost_usd\n2026-11-01,inf\n", "'inf' is no number"),
        ("date,cost_usd,currency\n2026-11-01,5,eur\n", "only US dollars"),
    ],
)
def test_what_is_no_report_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_export(text)
