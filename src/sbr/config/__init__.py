"""Recipes and their sections: every key that can be set, its default and what it means."""
