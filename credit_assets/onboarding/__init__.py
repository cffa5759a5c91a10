"""The commands `new` and `check`: a portfolio drafted from files that were never seen before, and everything that can
be found wrong with a portfolio without running it."""
