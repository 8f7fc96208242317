"""Who has looked at my data: every institution is asked live, nothing is kept, both parties' records are compared."""
