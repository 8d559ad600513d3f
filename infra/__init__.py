"""Deploys Holdfast: stacks that compose and grant, parts that own resources, workflows as files."""
