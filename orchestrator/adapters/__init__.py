"""Implementations of the ports: jobs on Redis, storage on S3 or a local disk, models on Triton."""
