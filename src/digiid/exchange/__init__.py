"""How institutions ask each other: addressed and shaped as X-Road REST (protocol version r1).

The transport is plain HTTP on loopback between subsystems that know themselves to the gate by a key;
signatures, logs and mutual TLS come with the security servers, and only this room changes then.
"""
