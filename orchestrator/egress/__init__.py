"""Requests to addresses that users chose: only to the internet, never into the operator's own network (SSRF)."""
