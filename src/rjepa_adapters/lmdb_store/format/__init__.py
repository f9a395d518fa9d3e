"""The byte format of records: keys, heads, texts, values and their checksums."""
