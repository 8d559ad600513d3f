"""ext2, ext3 and ext4: read and verified, with the journal replayed in memory."""
