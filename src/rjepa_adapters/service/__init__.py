"""The HTTP service for scoring: limits and checks at the edge, batching inside."""
