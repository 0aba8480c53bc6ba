"""Transcription: recordings to text, by models of frames that CTC trains."""
