"""Whole kinds at once: which resources may pass a limit, and what all of them cost, by arrays.

A screen says nothing about a violation itself.  It is stricter than the limits by a hair, and whoever it holds back is
checked again by the equations of one device (``storage.py``, ``charging.py``, ... beside this package), whose word
counts: limit, amount and interval are theirs.  So a million clean devices cost array operations only, and what is
reported of a bad one does not depend on how many others there are.
"""
