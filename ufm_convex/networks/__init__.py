"""Trained networks: what their last layer is worth."""
