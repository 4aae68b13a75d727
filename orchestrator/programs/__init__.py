"""What every program does first: refuse arguments, and hide its memory from others."""
