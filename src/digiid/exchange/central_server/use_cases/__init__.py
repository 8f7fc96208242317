"""What the central server does. Whoever changes something is a named officer, or members by their signatures."""
