"""Small programs: a health check for containers, and those that write the generated pages of docs/."""
