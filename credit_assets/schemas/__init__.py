"""Pandera contracts of the tables that the platform produces, and of Home Credit's raw tables. `lake` checks rows
against contracts."""
