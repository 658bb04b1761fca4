"""What the operator sees: metrics, log lines, health."""
