"""What OCPP says: messages, shapes, envelopes and frames. Pure: no socket, clock, randomness or asyncio."""
