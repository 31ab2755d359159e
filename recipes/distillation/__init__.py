"""Several frozen teachers in one student."""
