"""What must hold before a release is published."""
