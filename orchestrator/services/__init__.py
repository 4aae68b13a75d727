"""The use cases: submitting and watching jobs, running them, analysing photos, deleting old objects.

They work through the ports and know neither HTTP nor Redis, S3 or Triton.
"""
