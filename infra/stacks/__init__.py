"""The stacks: those that keep things hold no functions, those with functions keep nothing."""
