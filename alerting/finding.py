"""What one rule or detector saw on one call, and what is decided from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum


class AlertKind(StrEnum):
    """What can be wrong. The registry in `alerting.kinds` says how each feed calls it."""

    PROMPT_DRIFT = "prompt_drift"
    PROMPT_SIZE = "prompt_size"
    BUDGET_WARNING = "budget_warning"
    BUDGET_EXCEEDED = "budget_exceeded"
    USAGE_COST = "usage_cost"
    USAGE_ERROR_RATE = "usage_error_rate"
    USAGE_SPIKE = "usage_spike"
    USAGE_QUOTA = "usage_quota"
    USAGE_LATENCY = "usage_latency"
    USAGE_UNUSUAL = "usage_unusual"
    RATE_LIMIT_HIT = "rate_limit_hit"
    POLICY_VIOLATION = "policy_violation"
    ONCHAIN_DENIED = "onchain_denied"
    USER_LOCKED_OUT = "user_locked_out"
    CLIENT_CERT_REVOKED = "client_cert_revoked"
    UNPRICED_MODEL = "unpriced_model"
    METER_GAP = "meter_gap"
    LOGIN_ABUSE = "login_abuse"
    GATEWAY_DEGRADED = "gateway_degraded"
    RULE_CONFLICT = "rule_conflict"
    RULE_DORMANT = "rule_dormant"
    RULE_HIGH_DENY_RATE = "rule_high_deny_rate"
    RULE_HEALTH_DECLINE = "rule_health_decline"


class Severity(StrEnum):
    """Ordered: low < medium < high < critical."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Action(StrEnum):
    """What a rule asks for."""

    ALLOW = "allow"
    ALERT = "alert"
    BLOCK = "block"


class Taken(StrEnum):
    """What was done with the call that a finding is about."""

    OBSERVED = "observed"
    """Monitor mode: enforce would have refused it."""
    ALERTED = "alerted"
    BLOCKED = "blocked"
    THROTTLED = "throttled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a finding is about; each field only where it applies."""

    service: str | None = None
    host: str | None = None
    endpoint: str | None = None
    model: str | None = None
    user: str | None = None
    department: str | None = None
    agent: str | None = None
    key_id: str | None = None
    rule_id: str | None = None
    budget_id: str | None = None
    usage_alert_id: str | None = None
    instance: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One detector's result on one call or one moment. `episode` are the values that make two findings one alert (API.md, fingerprints)."""

    kind: AlertKind
    action: Action
    severity: Severity
    title: str
    message: str
    episode: tuple[str, ...]
    subject: Subject = field(default_factory=Subject)
    evidence: Mapping[str, str | int | float | bool | None] = field(default_factory=dict[str, str | int | float | bool | None])
    remedy: str = ""
    """What the refused user can do, one sentence."""
    retry_after: timedelta | None = None
    """Rate limits only: when the call would pass."""
    ends_at: datetime | None = None
    """When the episode ends by itself (a budget's period); None: when its condition clears or after a quiet while."""
    window: timedelta | None = None
    """The span that was looked at, where a finding is on one and not on a call."""
    silent: bool = False
    """The start-up canary: recorded in the ledger, no alert."""

    def about(self, **changes: str | None) -> "Finding":
        """Return this finding with fields of its subject set."""
        return replace(self, subject=replace(self.subject, **changes))


class Refusal(StrEnum):
    """Why a call is refused; the proxy maps it to a status and the provider's own error type (DESIGN.md, decision 15)."""

    POLICY = "policy"  # 403
    PROMPT_SIZE = "prompt_size"  # 403
    PROMPT_DRIFT = "prompt_drift"  # 403
    LOCKED_OUT = "locked_out"  # 403
    LAST_DAY = "last_day"  # 403
    CERTIFICATE = "certificate"  # 403: the client's certificate is missing, not ours, over or revoked
    BUDGET = "budget"  # 402
    RATE_LIMIT = "rate_limit"  # 429, Retry-After
    UNKNOWN_FORMAT = "unknown_format"  # 403
    UNREADABLE = "unreadable"  # 400: the request has no single meaning
    TOO_LARGE = "too_large"  # 413
    UNSUPPORTED_ENCODING = "unsupported_encoding"  # 415
    ONCHAIN = "onchain"  # 200, with an error of JSON-RPC
    DEGRADED = "degraded"  # 503: the gateway cannot keep its promises now


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The decision on one call before it is sent."""

    action: Action
    findings: tuple[Finding, ...] = ()
    refusal: Refusal | None = None
    """Set when action is BLOCK."""
    message: str = ""
    """For the caller: the rule, the numbers, the remedy."""
    rule_id: str | None = None
    retry_after: timedelta | None = None

    @property
    def blocked(self) -> bool:
        """Whether the call must not be sent."""
        return self.action is Action.BLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """A finding with what became of it: what the alert book records."""

    finding: Finding
    taken: Taken
    at: datetime
    call_id: str | None = None
