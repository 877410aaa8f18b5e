"""The rules feed: for those who write policies (`/api/v1`)."""

from api.feeds.rules import alerts, gateway_policies, hooks, policy

ROUTES = (*alerts.ROUTES, *policy.ROUTES, *gateway_policies.ROUTES, *hooks.ROUTES)
