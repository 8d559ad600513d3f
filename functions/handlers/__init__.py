"""Acts: one verb in each file. Frame, read, look, decide, answer."""
