"""The agents service's state in Redis or in a Redis Cluster; docs/agents.md has the table of keys."""
