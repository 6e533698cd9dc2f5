"""What a student sees: progress, tables that refresh, text that is safe to print."""
