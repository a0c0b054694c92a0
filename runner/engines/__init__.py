"""What drives the scheduler: one loop, one timer, one task group."""
