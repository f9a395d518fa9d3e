"""A world model behind a service, over HTTP."""
