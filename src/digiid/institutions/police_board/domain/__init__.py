"""The board's cases as values and state tables. Pure."""
