"""Finished evaluations and training runs -> what they did: attention, consistency, cases, curves."""
