"""How fast each stage is, against a plain implementation of the same definition."""
