"""Redis, as the services that keep state in it use it: where it is, scripts, connections, and what its failures mean."""
