"""Alertmanager's API v2 over the alert book: what `amtool` and Grafana speak."""
