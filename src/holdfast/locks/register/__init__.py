"""A value that only the newest holder of a right can write."""
