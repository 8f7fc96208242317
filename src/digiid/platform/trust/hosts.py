"""Which hosts a trust-service client may call. Addresses come out of certificates, so from strangers."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from digiid.kernel.errors import Refused

_PORTS = {"http": 80, "https": 443}


class AllowedHosts:
    """`host` or `host:port`; without a port the scheme's own. Nothing else is called, and no redirect is followed."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)

    @classmethod
    def of_urls(cls, *urls: str) -> "AllowedHosts":
        """The hosts of addresses that the configuration names."""
        return cls(urlsplit(url).netloc for url in urls)

    def check(self, url: str) -> None:
        """Raises: Refused `trust.host`, the address is not http(s), names a user, or its host is not on the list."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise Refused("trust.host", "an address that cannot be read") from error
        if parts.scheme not in _PORTS or not host or parts.username is not None or parts.password is not None:
            raise Refused("trust.host", f"an address of scheme {parts.scheme!r} or with a user in it")
        bare = f"[{host}]" if ":" in host else host
        names = {f"{bare}:{port or _PORTS[parts.scheme]}"}
        if port in (None, _PORTS[parts.scheme]):
            names.add(bare)
        if self._hosts.isdisjoint(names):
            raise Refused("trust.host", f"{host} is not a host that this program may call")
