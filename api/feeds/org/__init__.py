"""The org feed: alerts, budgets, policies and webhooks for organisation-wide security teams (`/v1`)."""

from api.feeds.org import alerts, budgets, policies, webhooks

ROUTES = (*alerts.ROUTES, *budgets.ROUTES, *policies.ROUTES, *webhooks.ROUTES)
