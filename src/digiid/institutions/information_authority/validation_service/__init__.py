"""The validation service: the shape of the Estonian state's own (SiVa, API version 3), and a call that streams.

A unit of the information authority without a database: documents are judged in worker processes and kept nowhere.
"""
