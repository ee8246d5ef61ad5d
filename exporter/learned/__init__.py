"""What is learned from a table's own past: pure models without a clock, an engine or a store."""
