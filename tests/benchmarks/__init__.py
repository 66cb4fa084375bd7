"""Benchmarks, one command each: ratios inside one run, since machines are noisy. Not collected by pytest."""
