"""What the server's python backend stands on."""
