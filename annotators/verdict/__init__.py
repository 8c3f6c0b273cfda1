"""Whether an instruction is true of a pair: `check` judges claims and text, `instruction` an instruction with both.

The formulas are in the modules of the clauses (`annotators.clauses`) and of the kinds of edits (`annotators.edits`).
"""
