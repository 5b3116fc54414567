"""Pages to look at: bars, a confusion matrix, and the worst pictures."""
