"""Measuring a model: answers as records, records as a summary, and the statistics of both."""
