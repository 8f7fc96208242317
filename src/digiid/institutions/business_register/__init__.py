"""The Business Registry: companies, who has which role in them, and who may act for them."""
