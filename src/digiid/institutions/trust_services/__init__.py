"""Trust services: certification authority, OCSP responder, time-stamping, trusted list. Four units, four keys.

The units do not import one another; what the CA decides reaches the responder through `status`.
"""
