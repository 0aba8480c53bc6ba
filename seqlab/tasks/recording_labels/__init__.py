"""Labels of whole recordings: which word, speaker or sound each is."""
