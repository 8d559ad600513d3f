"""InnoDB data directories as files: tablespaces, redo log and pages."""
