"""The State Population Registry: persons, personal codes, and who looked at them."""
