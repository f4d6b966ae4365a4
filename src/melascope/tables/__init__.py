"""Which tables do the stages meet through? Data sets, predictions, figures and maps, each with its own door."""
