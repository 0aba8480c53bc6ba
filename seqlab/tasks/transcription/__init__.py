"""Transcription task: speech recognition with CTC models."""
