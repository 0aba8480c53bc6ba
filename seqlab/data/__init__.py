"""Files -> examples -> batches.

The rooms that only need the batch types import `seqlab.data.batch`, which loads torch and nothing else of seqlab, so
this file imports nothing.
"""
