"""Tenants and their keys. With SQL away, callers known within the last ten minutes go on for what costs nothing."""
