"""Text -> Score: the answer extractor, the rewards made of it, and flags of collapse."""
