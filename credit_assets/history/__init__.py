"""Which model decided when, and the timeline of a portfolio, read from the lake and the registry."""
