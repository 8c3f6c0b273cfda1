"""Files under OUT: the plan, layers, records, summaries, the lock."""
