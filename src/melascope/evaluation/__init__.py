"""How good is a predictions table, how sure are we, and at which threshold? Reads tables only; imports no torch."""
