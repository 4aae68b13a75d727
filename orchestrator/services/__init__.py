"""The use cases: submitting and watching jobs, running them, looking at photos, deleting what is old.

They work through the ports and know neither HTTP nor Redis, S3 or Triton.
"""
