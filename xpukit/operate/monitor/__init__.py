"""Prometheus and Grafana with our rules and dashboards, as a directory that docker compose starts."""
