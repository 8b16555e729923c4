"""Chains of thought from a stronger model by rejection sampling: many answers are asked for, the good ones kept."""
