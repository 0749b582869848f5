"""What people look at: `report.html` and `samples.png`."""
