"""Check whether an instruction is true of a pair: `check` judges claims or text, `instruction` whole instructions.

The formulas are in the modules of the clauses (`annotators.clauses`) and of the kinds of edits (`annotators.edits`).
"""
