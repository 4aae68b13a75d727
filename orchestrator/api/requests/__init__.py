"""Reading what callers send: bodies, forms, headers and queries, within limits."""
