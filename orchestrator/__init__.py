"""The orchestrator: the HTTP API and the workers that turn a photo into a job and a job into a picture."""
