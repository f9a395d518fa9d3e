"""Records and histories as lines for a terminal."""
