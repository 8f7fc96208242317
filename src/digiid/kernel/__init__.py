"""What every other room may use: errors, state tables, identifiers. Pure, imports nothing of ours."""
