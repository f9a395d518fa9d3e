"""The world model: its data, its training, and its answers."""
