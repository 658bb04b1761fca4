"""Dashboards of Grafana, and what they are made of."""
