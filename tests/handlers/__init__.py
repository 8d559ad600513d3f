"""Every verb with an AWS in memory and the real ledger, and once as Lambda calls it."""
