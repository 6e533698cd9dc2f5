"""What each action takes and answers: one model for each, and its limits."""
