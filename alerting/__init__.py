"""What is wrong, who is told, what became of it."""
