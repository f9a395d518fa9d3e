"""Everything that reads LMDB's pages as bytes, never through LMDB: what is damaged, what can be saved."""
