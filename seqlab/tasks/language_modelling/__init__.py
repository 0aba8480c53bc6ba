"""Language modeling task: autoregressive and masked models of text."""
