"""Everything that parses LMDB's pages as bytes: their trees, what is damaged, what can be saved."""
