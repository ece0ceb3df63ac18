"""The agents service: agents, their sessions, and durable turns."""
