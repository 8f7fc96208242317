"""The time-stamping authority (RFC 3161, ETSI EN 319 421/422). A token leaves only after its record is safe."""
