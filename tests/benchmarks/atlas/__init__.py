"""The rows of the theorem atlas, one file a table; ``tests.benchmarks.make_atlas`` prints them."""
