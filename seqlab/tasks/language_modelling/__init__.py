"""Language modelling task: autoregressive and masked models of text."""
