"""The tests mirror the rooms of the house; `builders` and `fakes` furnish them."""
