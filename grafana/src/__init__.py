"""The dashboards as a program; ``python -m grafana.src`` writes them to ``grafana/dashboards``."""
