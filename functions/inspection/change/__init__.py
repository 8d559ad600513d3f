"""Whether the change since the point before is mass encryption, judged on a sample of the changed blocks."""
