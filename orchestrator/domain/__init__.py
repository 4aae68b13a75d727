"""What a job, its events and a style are. No I/O; nothing here imports another part of the orchestrator."""
