"""What happens around every request: who may call, how often and how long, and what is seen of it."""
