"""Records, histories and scores as lines for a terminal."""
