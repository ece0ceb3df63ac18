"""The gateway: one address in front of every provider. It looks resources up in a registry and relays bytes."""
