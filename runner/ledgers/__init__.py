"""Where spending against limits is kept. All ledgers pass one behavioural suite (`tests/ledgers`)."""
