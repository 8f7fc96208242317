"""The board's cases as values and state tables. Pure."""


def N_(message: str) -> str:  # noqa: N802  gettext's own name for it
    """Mark a text for translation where it is shown."""
    return message
