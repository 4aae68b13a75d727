"""What the service says about itself: logs, metrics, traces, errors for Sentry, and events for product analytics.

It lies below all other layers and knows none of them. Nothing that it is given may contain what a photo shows, the name
of a file, a secret, or the query of a URL.
"""

from __future__ import annotations


class CannotObserve(Exception):
    """A part that the settings ask for cannot start. The message is one sentence that says what to do."""
