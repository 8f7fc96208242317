"""Plumbing that knows no institution: clock, entropy, database, outbox, journal, HTTP, keys, web."""
