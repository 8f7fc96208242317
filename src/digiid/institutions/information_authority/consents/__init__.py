"""The consent service: people say who may be told what about them, why and until when, and take it back.

A unit of the information authority with a database and a seal of its own. It never sees the data.
"""
