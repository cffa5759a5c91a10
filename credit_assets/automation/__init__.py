"""What is due, and the jobs, sensors and schedules that start it. Alerts and retention are separate rooms."""
