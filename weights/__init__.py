"""Models: manifest, registry and importers."""
