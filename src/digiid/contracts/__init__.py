"""What institutions promise one another: members, operations, request and reply models. Pure data."""
