"""What an agent's model can call."""
