"""A night of a whole fleet in the simulated AWS of the tests, with its documented limits, and what of them was used."""
