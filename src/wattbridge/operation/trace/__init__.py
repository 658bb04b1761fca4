"""Seeing messages: which are wanted, as they happen, as they were, and as files."""
