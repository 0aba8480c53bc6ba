"""Parts for `seqlab` that live outside of it: copy what you need. `table` names them."""
