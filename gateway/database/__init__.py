"""SQL: money and ownership. Without it no generation starts (503), because it could not be accounted for."""
