"""IS IT INTACT: what the blocks of a snapshot say about their own content. Reads through a port, knows no AWS."""
