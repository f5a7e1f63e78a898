"""Applying a network to images of any size: tiles with a halo, post-processing, files."""
