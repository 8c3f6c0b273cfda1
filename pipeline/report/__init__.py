"""Reports for users: status, galleries, cards, comparisons, audits, forecasts."""
