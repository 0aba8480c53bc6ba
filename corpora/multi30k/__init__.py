"""Multi30k: English image descriptions and their German translations, raw text (task 1).

Elliott, Frank, Sima'an and Specia 2016, "Multi30K: Multilingual English-German Image Descriptions", W16-3210. The test
set is that of 2016, `test_2016_flickr` in the repository.
"""

from seqlab.corpora.card import read_card

CORPUS = read_card("multi30k")
