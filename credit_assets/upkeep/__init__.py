"""Retention of tables and runs, and backup and restore."""
