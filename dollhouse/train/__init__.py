"""Trains the networks of the bundle, and the style classifier that evaluation uses."""
