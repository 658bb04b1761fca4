"""Who talks to whom: sessions, their registry, routes and the journal. Blind to transport."""
