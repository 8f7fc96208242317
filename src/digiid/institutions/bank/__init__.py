"""A bank: a private provider that accepts an e-resident's sign-in and signed application."""
