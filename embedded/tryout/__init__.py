"""One night of backups on the embedded AWS: real volumes, a real database under load, and a person watching."""
