"""Starts every part of reroom on one machine without containers: Redis, Triton, the API and workers."""
