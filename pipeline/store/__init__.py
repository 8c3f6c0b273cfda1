"""What lies under OUT: the plan, layers, records, summaries, the lock."""
