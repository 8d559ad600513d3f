"""PostgreSQL data directories as files: control file, WAL and pages."""
