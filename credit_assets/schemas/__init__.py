"""Pandera contracts of the tables that the platform produces, and of Home Credit's raw tables. Which rows break a
contract is found in `lake`."""
