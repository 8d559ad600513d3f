"""Constructs that own resources and offer them as attributes; stacks compose them and grant."""
