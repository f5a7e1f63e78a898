"""Losses, schedules, devices and the training loop."""
