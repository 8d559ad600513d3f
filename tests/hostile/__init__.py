"""What people and machines that mean harm may write, and that it does nothing."""
