"""Thinks: the rules of backup and restore. Standard library only; no AWS, no clock, no environment."""
