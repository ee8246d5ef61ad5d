"""Results on their way out: the Prometheus exposition."""
