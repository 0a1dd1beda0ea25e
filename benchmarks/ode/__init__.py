"""One equation, solved by several frameworks."""
