"""Scores, tables of them, and files of rows."""
