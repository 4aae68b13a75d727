"""Places of releases beside the folder that a Triton serves from: another folder, or an object storage (R2, S3)."""
