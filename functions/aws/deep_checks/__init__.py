"""The machine of a deep check: how it comes and goes, and what runs on it."""
