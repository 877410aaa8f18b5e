"""Who is told of alerts outside: the durable outbox and one file for each way to send."""
