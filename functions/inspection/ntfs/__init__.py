"""NTFS: read and verified by its structure, because it has no checksums."""
