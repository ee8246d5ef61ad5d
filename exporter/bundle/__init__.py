"""Renders the catalogue for others: Prometheus, Alertmanager, Grafana, Datadog."""
