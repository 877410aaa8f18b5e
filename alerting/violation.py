"""What a policy rule found on a call."""

from alerting.finding import Action, AlertKind, Finding
from alerting.policy import CANARY_RULE_ID
from alerting.rule import READ, SIZES, TIMES, given
from alerting.rule_settings import RuleSettings, listed
from alerting.secret_kinds import BY_NAME
from alerting.subjects import NOBODY, shown, subject_of
from alerting.texts import Found, Scan, known_kinds
from metering.call import Call

_MOST_SHOWN = 5


def violation(call: Call, rule: RuleSettings, *, tokens: int, counted: int | None = None, scan: Scan | None = None) -> Finding:
    """Return the finding on a call that a rule alerts on or blocks. It names kinds and places of secrets, never one of them.

    `tokens` may be a bound; `counted` is the exact number, where it was needed.
    """
    caller = call.caller.user or call.caller.key_id or NOBODY
    verb = "does not allow this call" if rule.action is Action.BLOCK else "reports this call"
    evidence: dict[str, str | int | float | bool | None] = {
        "rule_id": rule.id,
        "provider": call.provider,
        "model": shown(call.model),
        "operation": call.operation,
        "department": call.caller.department,
    }
    if counted is not None:
        evidence["token_count"] = counted
    if found := _secrets(rule, scan):
        evidence |= {"secrets": ", ".join(sorted({one.kind for one in found})), "places": _listing([one.place for one in found])}
    return Finding(
        kind=AlertKind.POLICY_VIOLATION,
        action=rule.action,
        severity=rule.severity,
        title=rule.title,
        message=f"Policy rule {rule.id} ({rule.title}) {verb}: {_facts(call, rule, tokens=tokens, scan=scan)}.",
        episode=(rule.id, caller, call.model or NOBODY),
        subject=subject_of(call, rule_id=rule.id),
        evidence=evidence,
        remedy="Take the secret out of the prompt; if it was sent before, revoke it." if found else _REMEDY,
        silent=rule.id == CANARY_RULE_ID,
    )


_REMEDY = "Use what the rule allows, or ask whoever keeps the rules to change it."


def _facts(call: Call, rule: RuleSettings, *, tokens: int, scan: Scan | None) -> str:
    """Return the values of the call that the rule looked at."""
    fields, match = given(rule.match), rule.match
    facts = [f"{name} {_value(call, name)}" for name in fields if name in READ]
    if set(fields) & set(TIMES):
        facts.append(f"at {call.started_at:%Y-%m-%d %H:%M} UTC (the rule's hours are in {match.timezone})")
    for name in (name for name in SIZES if name in fields):
        what = f"{tokens:,} input tokens" if name.endswith("tokens") else f"{call.request_bytes:,} bytes"
        facts.append(f"{what} (at {'least' if name.startswith('min') else 'most'} {getattr(match, name):,})")
    facts += [f"{BY_NAME[kind].title} in {_listing(places)}" for kind, places in _by_kind(_secrets(rule, scan)).items()]
    if match.text is not None:
        facts.append(_told(listed(match.text), scan))
    return ", ".join(facts) or f"model {shown(call.model) or 'unknown'}"


def _value(call: Call, name: str) -> str:
    value = READ[name](call)
    return shown(_listing(value) if isinstance(value, tuple) else value) or "unknown"


def _told(patterns: tuple[str, ...], scan: Scan | None) -> str:
    for number, pattern in enumerate(patterns, 1):
        if scan is not None and pattern in scan.patterns:
            return f"text pattern {number} of {len(patterns)} in {scan.patterns[pattern]}"
    return "none of the text patterns that the rule expects"


def _secrets(rule: RuleSettings, scan: Scan | None) -> list[Found]:
    if rule.match.secrets is None or scan is None:
        return []
    named = known_kinds(listed(rule.match.secrets))
    wanted = named if isinstance(rule.match.secrets, str | tuple) else known_kinds(("any",)) - named
    return [one for one in scan.secrets if one.kind in wanted]


def _by_kind(found: list[Found]) -> dict[str, list[str]]:
    places: dict[str, list[str]] = {}
    for one in found:
        places.setdefault(one.kind, []).append(one.place)
    return places


def _listing(items: list[str] | tuple[str, ...]) -> str:
    unique = list(dict.fromkeys(items))
    more = f" and {len(unique) - _MOST_SHOWN} more" if len(unique) > _MOST_SHOWN else ""
    return f"{', '.join(unique[:_MOST_SHOWN])}{more}"
