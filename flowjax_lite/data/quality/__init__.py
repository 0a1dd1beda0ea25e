"""Judging rows before a density is fitted to them: one pass, what speaks against it, a policy."""
