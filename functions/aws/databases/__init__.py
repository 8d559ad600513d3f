"""Asks a restored database whether it holds what it should: lines, checks, structure, rows, by engine."""
