"""The product's version, stored with every label. Knows nothing else."""

VERSION = "0.1.0"
