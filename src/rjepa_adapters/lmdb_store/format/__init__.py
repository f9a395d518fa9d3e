"""How a record becomes bytes: keys, heads, texts, values and their checksums."""
