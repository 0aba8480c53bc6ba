"""Control task: agents that act in the environments of gymnasium, trained on the rewards of their own episodes."""
