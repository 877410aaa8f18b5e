"""The rules feed: for those who write policies (`/api/v1`)."""

from api.feeds.rules import alerts, policy

ROUTES = (*alerts.ROUTES, *policy.ROUTES)
