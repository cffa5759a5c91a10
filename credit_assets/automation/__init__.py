"""What is due, and the jobs, sensors and schedules that start it. Alerts and clearing up have rooms of their own."""
