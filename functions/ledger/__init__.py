"""Remembers: the ledger table, the only thing Holdfast knows that AWS does not."""
