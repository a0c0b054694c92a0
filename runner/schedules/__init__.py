"""When runs are due: cron expressions, the slots they make, and the crontab and systemd timers that start them."""
