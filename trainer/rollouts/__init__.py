"""What the policy writes while it is trained: prompts, rollouts, what they are worth, and the batches made of them."""
