"""Whether an instruction is true of a pair: `check` judges claims and text, `instruction` an instruction with both.

The formulas stand in the modules of the clauses: `names`, `places`, `moves`, `amounts`.
"""
