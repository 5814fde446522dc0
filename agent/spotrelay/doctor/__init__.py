"""`spotrelay doctor`: what would keep a run from being resumed, found before a run finds it, each with its remedy.

A check is a function of the ground (`ground.py`) that yields findings and knows of nothing else. Four rules:

1. It only looks. Nothing is made, changed or started (`--drift` alone asks CloudFormation to compare).
2. It ends whatever AWS says. What it may not look at is `unknown`, with the permission that would let it
   (`refusals.py`); the findings it had before that stand.
3. What it stands on is asked for once and shared. Where that is missing (no credentials, no stack), the check whose
   subject it is says so, and the others are `skipped`: one fault is one finding, not twenty.
4. Whatever is not well comes with a remedy, and where there is one, with a command to copy.

All checks run at once, in threads; what they share keeps those waiting that need it. So it takes as long as its
longest chain: who am I, which stack, which launch template, which image.
"""
