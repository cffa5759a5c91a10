"""The one form of every verdict, and how it becomes a Dagster check. The rules are in the room that gives the
verdict."""
