"""Recording classification task: one label for each recording, such as a word, a speaker or a sound."""
