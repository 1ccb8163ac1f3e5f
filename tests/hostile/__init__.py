"""The table of faults: servers, networks and machines that misbehave, and what the exporter reports."""
