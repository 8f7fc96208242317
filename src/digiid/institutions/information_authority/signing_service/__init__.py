"""The signing service for providers of e-services: two-step calls in the manner of the Estonian signing gateway (SiGa).

A unit of the information authority with a database of its own. Clients are programs; each request is signed (HMAC).
"""
