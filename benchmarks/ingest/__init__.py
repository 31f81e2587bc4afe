"""How fast logs become rows, beside the floor and beside peers on the same bytes and the same rows."""
