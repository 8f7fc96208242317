"""The OCSP responder (RFC 6960): answers from memory, signs each answer anew, knows only what the CA wrote."""
