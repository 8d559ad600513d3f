"""xfs, versions 4 and 5: read and verified, with the log replayed in memory."""
