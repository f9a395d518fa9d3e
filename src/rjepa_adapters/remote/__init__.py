"""The world model of a service, over HTTP."""
