"""The networks as the repository serves them: torch modules whose forward is a model's contract."""
