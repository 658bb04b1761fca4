"""How each party is reached: the corners of the gateway, each over its own transport."""
