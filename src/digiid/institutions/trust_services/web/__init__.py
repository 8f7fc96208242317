"""What programs and people fetch: certificates, revocation lists, the trusted list, the repository's pages."""
