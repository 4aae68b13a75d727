"""Small programs (a health check, the generated pages of docs/), and what all programs have in common."""
