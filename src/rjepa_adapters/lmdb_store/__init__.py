"""The LMDB latent store: one directory, transactions, checksums, one writer and many readers."""
