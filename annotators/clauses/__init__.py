"""Judge single clauses of an instruction: names, places, moves, turns and numbers.

These modules do not depend on the kinds of edits. Each kind (`annotators.edits`) selects the clauses that it judges.
"""
