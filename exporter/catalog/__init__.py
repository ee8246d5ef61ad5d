"""The single definition of every name that dq-exporter publishes; pure, standard library only."""
