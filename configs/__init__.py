"""Typed configuration: schema, loader, default file and example profiles."""
