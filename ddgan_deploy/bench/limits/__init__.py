"""What a machine allows at best."""
