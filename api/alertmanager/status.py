"""What Alertmanager's API says of itself."""

from datetime import datetime

import yaml
from aiohttp import web

from alerting.finding import AlertKind
from alerting.suppression import INHIBITIONS, Inhibition
from api.alertmanager import alerts, silences
from api.alertmanager.wire import RECEIVER, Receiver
from api.bodies import Answer
from api.errors import json_response
from api.route import Ask, Route
from api.scopes import Scope
from api.times import rfc3339


class Cluster(Answer):
    """There is none: one gateway answers."""

    status: str
    peers: list[str]


class Version(Answer):
    """Of tollwatch; of how it was built Alertmanager's clients must be told something."""

    version: str
    revision: str
    branch: str
    buildUser: str  # noqa: N815  # Alertmanager's word
    buildDate: str  # noqa: N815  # the same
    goVersion: str  # noqa: N815  # the same


class Configuration(Answer):
    """What an Alertmanager that did the same would be configured with."""

    original: str


class StatusAnswer(Answer):
    """How it is."""

    cluster: Cluster
    versionInfo: Version  # noqa: N815  # Alertmanager's word
    config: Configuration
    uptime: datetime


async def get_status(ask: Ask) -> web.Response:
    """Answer `GET /alertmanager/api/v2/status`."""
    status = ask.services.status()
    built = dict.fromkeys(("revision", "branch", "buildUser", "buildDate", "goVersion"), "")
    return json_response(
        {
            "cluster": {"status": "disabled", "peers": []},
            "versionInfo": {"version": status.version, **built},
            "config": {"original": _ORIGINAL},
            "uptime": rfc3339(status.started_at),
        }
    )


async def list_receivers(_ask: Ask) -> web.Response:
    """Answer `GET /alertmanager/api/v2/receivers`."""
    return json_response([{"name": RECEIVER}])


def _rule(inhibition: Inhibition) -> dict[str, object]:
    """Return an inhibition as Alertmanager's config words it."""
    targets = "|".join(sorted(inhibition.targets or (kind for kind in AlertKind if kind != inhibition.source)))
    return {
        "source_matchers": [f'kind="{inhibition.source}"'],
        "target_matchers": [f'kind=~"{targets}"'],
        "equal": [inhibition.same[0]],
    }


_ORIGINAL = yaml.safe_dump(
    {
        "route": {"receiver": RECEIVER, "group_by": ["alertname"]},
        "inhibit_rules": [_rule(inhibition) for inhibition in INHIBITIONS],
        "receivers": [{"name": RECEIVER}],
    },
    sort_keys=False,
)

ROUTES = (
    *alerts.ROUTES,
    *silences.ROUTES,
    Route(
        method="GET",
        path="/alertmanager/api/v2/status",
        handler=get_status,
        scope=Scope.ALERTS_READ,
        answers={200: StatusAnswer},
        summary="How it is, as Alertmanager's clients ask",
    ),
    Route(
        method="GET",
        path="/alertmanager/api/v2/receivers",
        handler=list_receivers,
        scope=Scope.ALERTS_READ,
        answers={200: list[Receiver]},
        summary="Who is told: one receiver stands for all channels",
    ),
)
