"""The same flows in several frameworks, each written as its users write it."""
