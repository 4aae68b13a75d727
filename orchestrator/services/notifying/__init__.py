"""Telling other systems what happened: users' endpoints and the operator's own, from one outbox."""
