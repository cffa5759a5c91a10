"""A compiled portfolio: its contracts, its feature SQL and the lineage of every column. It reads nothing
from the lake."""
