"""X.509 certificates, requests and CRLs: RFC 5280, RFC 2986, ETSI EN 319 412-1/-2/-5."""
