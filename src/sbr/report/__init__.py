"""Figures for people: tables of summaries and comparisons."""
