"""The management port: for operators and orchestrators, never for the public."""
