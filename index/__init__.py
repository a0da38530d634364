"""The gallery: durable store, exact vector index, identities."""
