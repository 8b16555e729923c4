"""Published results on the benchmarks: one data file, its reader, what contradicts what, and the tables made of it."""
