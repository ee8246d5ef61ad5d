"""The health of the runs that fill tables: one model and state machine, one file per source, health and lineage; pure but for HTTP."""
