"""A part of the gateway that does not do its work."""

from alerting.finding import Action, AlertKind, Finding, Subject
from alerting.kinds import KINDS


def degraded(component: str, message: str) -> Finding:
    """Return the finding on a component (store, writer, canary, clock, prices …)."""
    return Finding(
        kind=AlertKind.GATEWAY_DEGRADED,
        action=Action.ALERT,
        severity=KINDS[AlertKind.GATEWAY_DEGRADED].severity_of(blocked=False),
        title=f"Gateway degraded: {component}",
        message=message,
        episode=degraded_episode(component),
        subject=Subject(),
        evidence={"component": component},
    )


def degraded_episode(component: str) -> tuple[str, ...]:
    """Return what makes two findings on a component one alert."""
    return (component,)
