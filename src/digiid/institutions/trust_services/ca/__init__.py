"""The certification authority: issues certificates in pairs, changes their status, signs revocation lists."""
