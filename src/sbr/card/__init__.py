"""Model cards: the README.md of every checkpoint, for people, the Hugging Face hub and whoever loads it."""
