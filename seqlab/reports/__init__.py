"""Figures and pages of measurements and run folders; nothing is trained here."""
