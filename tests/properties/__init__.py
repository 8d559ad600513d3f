"""What holds for every input there is, by Hypothesis."""
