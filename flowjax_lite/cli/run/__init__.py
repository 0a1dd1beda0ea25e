"""Runs: a config with its data and flow, trained, and the directory that it leaves."""
