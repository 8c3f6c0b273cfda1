"""The pair stage of rendered scenes: proposals, renders, measures, facts."""
