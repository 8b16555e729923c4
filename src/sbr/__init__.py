"""seed-bench-r1: reinforcement-learning post-training of multimodal models on video, and its measurement."""

__version__ = "0.2.0"
