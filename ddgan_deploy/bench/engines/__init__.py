"""What is measured beside an artifact's own engines."""
