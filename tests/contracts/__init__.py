"""Proofs of what crosses the wall, and what is turned back."""
