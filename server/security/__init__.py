"""Who is asking, and what they may do, and how often."""
