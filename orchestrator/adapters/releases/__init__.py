"""The places where releases lie: the adapters of :class:`orchestrator.ports.Rollouts`."""
