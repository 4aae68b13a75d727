"""From a photo and preferences to a job in the queue: what is admitted, reserved and stored."""
