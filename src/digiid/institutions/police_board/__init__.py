"""Police and Border Guard Board: decides who becomes an e-resident, and what becomes of a digi-ID afterwards."""
