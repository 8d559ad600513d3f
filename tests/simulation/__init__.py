"""Holdfast on a simulated AWS and a simulated clock: one seed is one history, and it is the same every time."""
