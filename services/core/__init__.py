"""What every service shares: settings, server, errors, call handling, health, telemetry and the provider port."""
