"""Jobs: their states, their events, the use cases of the API and the loop of a worker."""
