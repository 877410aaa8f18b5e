"""How providers write calls, replies and stream events: one file per wire format."""
