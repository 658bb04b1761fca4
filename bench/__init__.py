"""Benchmarks: the gateway between what the same transports could do and what naive glue does, in one run.

``python -m bench`` (``make bench``) prints a table and writes ``results/latest.json``; docs/performance.md
says what the rows mean.
"""
