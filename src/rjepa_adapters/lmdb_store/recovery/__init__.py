"""Everything that reads LMDB's pages as bytes: what is damaged, and what can be saved."""
