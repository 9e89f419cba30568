"""Statements and evaluations of an event on paper: CSV, JSON, and a report to print, in Chinese and English.

All functions are pure: an issued statement or an event's record in, chunks of text out, so that a statement of a
whole city need never stand in memory as one string.

``scope`` says whose lines, ``columns`` what a line is made of; ``as_csv``, ``as_json`` and ``evaluation`` write for
machines and spreadsheets; ``aggregator``, ``resource`` and ``market`` are the three reports for people, on ``frame``.
"""
