"""How measurements are obtained: one pinned version of a table, the cheapest tier that is exact, two engines."""
