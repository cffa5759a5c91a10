"""The commands `new` and `check`: drafting a portfolio from unknown files, and finding everything that is wrong with a
portfolio without running it."""
