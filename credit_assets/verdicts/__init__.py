"""The one shape of every judgement, and how it becomes a Dagster check. What is judged, and by which rule, is in the
room that judges."""
