"""What an instruction may say of any edit, and how one clause of it is judged: names, places, moves, turns, numbers.

No module here knows which kinds of edits there are: the kinds (`annotators.edits`) choose the clauses that they judge.
"""
