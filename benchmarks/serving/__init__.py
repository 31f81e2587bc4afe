"""What row-level security costs those who ask about optimization runs."""
