"""digiid: the e-resident digi-ID as a working system."""

__version__ = "0.1.0"
