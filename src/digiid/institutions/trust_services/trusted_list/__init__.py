"""The trusted list (ETSI TS 119 612): says which services of this hierarchy are trusted, signed by its own key."""
