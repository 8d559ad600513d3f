"""How unusual: judges a closed run against the resource's own history."""
