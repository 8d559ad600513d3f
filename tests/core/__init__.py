"""Proofs of what core decides."""
