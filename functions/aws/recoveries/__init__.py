"""The port `Recoveries`: what a recovery makes of a snapshot for people to use, by kind; and the swap of names."""
