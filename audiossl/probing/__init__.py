"""Small models fitted on frozen embeddings, and what their scores are worth."""
