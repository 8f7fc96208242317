"""One security server: what stands between the information systems of its clients and everybody else's."""
