"""Proofs of what is called unusual."""
