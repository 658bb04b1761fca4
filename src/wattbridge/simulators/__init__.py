"""Independent witnesses: a charge point and a central system that speak through other people's stacks."""
