"""btrfs: read and verified, every copy of every tree node."""
